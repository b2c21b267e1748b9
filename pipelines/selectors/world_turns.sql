-- summary: What an environment answered, as completions to learn: each turn's move, after what the opponent of `modelled` is shown.
-- source: WebEvolver, arXiv:2504.21024 (world model fine-tuned on the next observations of trajectories)
-- needs: episode_id, prompt_id, prompt, action, observation, turn  -- of episodes played from their beginning
-- optional: messages
-- param history: integer in 1.. = null  -- of how many turns, the present one included, it sees the move; null: of all
-- makes rows: prompt_id, prompt, messages?, completion, turn
-- dropped: a turn without a readable action, or without an answer
-- empty: no turn has an action and an answer
WITH told AS (
    SELECT *, CASE WHEN messages IS NOT NULL THEN messages[-1].content ELSE prompt END AS given
    FROM rows WHERE action IS NOT NULL AND observation <> ''
), moved AS (
    SELECT *, CASE WHEN turn = min(turn) OVER (PARTITION BY episode_id) THEN given || chr(10) || action ELSE action END AS move
    FROM told
), before AS (
    SELECT *, list({'move': move, 'answer': observation}) OVER (
        PARTITION BY episode_id ORDER BY turn, position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier
    FROM moved
), seen AS (
    SELECT *, coalesce(earlier, [])[greatest(1, len(earlier) - $history + 2) :] AS shown FROM before  -- greatest passes over null
)
SELECT [row_id] AS parents, prompt_id,
    array_to_string(list_transform(shown, lambda one: one.move || chr(10) || one.answer || chr(10)), '') || move AS prompt,
    CASE WHEN messages IS NOT NULL THEN flatten(list_transform(shown, lambda one: [
        {'role': 'user', 'content': one.move, 'tool_calls': NULL::VARCHAR, 'name': NULL::VARCHAR},
        {'role': 'assistant', 'content': one.answer, 'tool_calls': NULL::VARCHAR, 'name': NULL::VARCHAR}]))
        || [{'role': 'user', 'content': move, 'tool_calls': NULL::VARCHAR, 'name': NULL::VARCHAR}] END AS messages,
    observation AS completion, turn
FROM seen ORDER BY position

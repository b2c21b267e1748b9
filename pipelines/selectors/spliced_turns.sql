-- summary: Failed episodes up to the turn where they leave a successful one, then the rest of that one, as turns to learn.
-- source: Agent-R, arXiv:2501.11425 (revision trajectories: a bad one up to its error, a signal, and the good one from their parent on)
-- needs: episode_id, prompt_id, prompt, completion, observation, turn  -- of episodes with their whole history
-- optional: messages
-- input episodes: sample_id, verdict  -- the turns' episodes
-- param revision: text = ''  -- before the first move after the failed one
-- param max_per_prompt: integer in 1.. = null  -- at most so many failed episodes of one task, drawn by seed; null: all
-- makes rows: prompt_id, prompt, messages?, completion, weight
-- dropped: of no failed episode that leaves a successful one, or of a part that was not taken
-- empty: no failed episode has its first turns in common with a successful one
WITH told AS (SELECT r.*, e.verdict AS said FROM rows r JOIN episodes e ON e.row_id = r.episode_id), parted AS (
    SELECT b.row_id AS wrong, b.episode_id AS failed, b.prompt_id, b.prompt, b.messages, b.completion AS did, b.observation AS led_to,
        g.episode_id AS good, g.turn, g.completion AS instead, b.position
    FROM told b JOIN told g ON b.prompt_id = g.prompt_id AND b.prompt = g.prompt AND b.turn = g.turn
        AND b.messages IS NOT DISTINCT FROM g.messages
    WHERE b.said = 'fail' AND g.said = 'pass' AND b.completion <> g.completion
    QUALIFY row_number() OVER (PARTITION BY b.episode_id ORDER BY g.turn DESC, uniform(g.row_id, $seed), g.position) = 1
), chosen AS (
    SELECT * FROM parted
    QUALIFY $max_per_prompt IS NULL
        OR row_number() OVER (PARTITION BY prompt_id ORDER BY uniform(wrong, $seed), position) <= $max_per_prompt
), joined AS (
    SELECT c.*, t.row_id AS next, t.turn = c.turn AS first, t.completion AS move, t.prompt AS seen, t.messages AS heard,
        t.position AS place, t.turn AS number
    FROM chosen c JOIN told t ON t.episode_id = c.good AND t.turn >= c.turn AND starts_with(t.prompt, c.prompt)
), spliced AS (
    SELECT *, 1.0 / count(*) OVER (PARTITION BY failed) AS share,
        [{'role': 'assistant', 'content': did, 'tool_calls': NULL::VARCHAR, 'name': NULL::VARCHAR},
         {'role': 'user', 'content': led_to, 'tool_calls': NULL::VARCHAR, 'name': NULL::VARCHAR}] AS fault,
        [{'role': 'assistant', 'content': $revision || instead, 'tool_calls': NULL::VARCHAR, 'name': NULL::VARCHAR}] AS turned
    FROM joined
)
SELECT [wrong, next] AS parents, prompt_id,
    CASE WHEN messages IS NOT NULL THEN prompt ELSE
        prompt || chr(10) || did || chr(10) || led_to
        || CASE WHEN first THEN '' ELSE chr(10) || $revision || substr(seen, length(prompt) + 2) END END AS prompt,
    CASE WHEN messages IS NOT NULL THEN
        messages || fault || CASE WHEN first THEN [] ELSE turned || heard[len(messages) + 2 :] END END AS messages,
    CASE WHEN first THEN $revision || move ELSE move END AS completion, share AS weight
FROM spliced ORDER BY position, number, place

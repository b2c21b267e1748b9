-- summary: Tasks of `modelled` that begin where episodes began, so that a model answers in place of their environment.
-- source: WebEvolver, arXiv:2504.21024 (trajectories in which the world model answers)
-- needs: prompt_id, prompt, turn, past  -- turns of rollouts
-- optional: messages
-- param goal: text = ''  -- a text that an observation holds once the goal is reached; '': only max_turns ends an episode
-- makes prompts: prompt_id, prompt, task, entry
-- dropped: not the first turn of a task's first episode
-- empty: no episode was played from its beginning
WITH begun AS (
    SELECT row_id, position, coalesce(past::JSON ->> 'goal', prompt) AS asked,
        CASE WHEN messages IS NOT NULL THEN messages[-1].content ELSE prompt END AS given
    FROM rows WHERE turn = 1
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY position) = 1
), made AS (
    SELECT row_id, position, asked,
        CASE WHEN starts_with(given, asked || chr(10)) THEN substr(given, length(asked) + 2) ELSE given END AS observation
    FROM begun
    QUALIFY row_number() OVER (PARTITION BY asked, observation ORDER BY position) = 1
)
SELECT [row_id] AS parents, left(sha256('modelled/' || $goal || '/' || observation || '/' || asked), 20) AS prompt_id,
    asked AS prompt, 'modelled' AS task, to_json({'goal': $goal, 'observation': observation})::VARCHAR AS entry
FROM made ORDER BY position

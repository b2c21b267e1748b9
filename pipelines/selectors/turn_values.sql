-- summary: Turns with the mean score of the episodes that have the same output for the same input, and with their episode's verdict.
-- source: Monte Carlo values of steps, as in IPR, arXiv:2406.11176, without rollouts of their own
-- needs: episode_id, prompt_id, prompt, completion
-- optional: messages
-- input episodes: sample_id, score, verdict  -- the turns' episodes, with their scores
-- adds: score, verdict
-- empty: no turn is of an episode with a score
WITH told AS (
    SELECT r.*, e.score AS reached, e.verdict AS said,
        avg(e.score) OVER (PARTITION BY r.prompt_id, r.prompt, r.messages, r.completion) AS mean
    FROM rows r LEFT JOIN episodes e ON e.row_id = r.episode_id
)
SELECT row_id, CASE WHEN reached IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN reached IS NULL THEN 'of no episode with a score' ELSE 'valued' END AS reason, mean AS score, said AS verdict
FROM told

-- summary: Keep episodes that reached the goal, at most some for each task, the shortest first.
-- source: ReST-EM over episodes, as in ReST meets ReAct, arXiv:2312.10003 (trajectories whose answer is accepted)
-- needs: prompt_id, verdict, turns
-- param max_per_prompt: integer in 1.. = null  -- at most so many episodes of one task; null: all
-- empty: no episode reached the goal
WITH ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY prompt_id, verdict = 'pass' ORDER BY turns, uniform(row_id, $seed), position) AS place
    FROM rows
)
SELECT row_id,
    CASE WHEN verdict = 'pass' AND ($max_per_prompt IS NULL OR place <= $max_per_prompt) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN verdict = 'pass' AND place > $max_per_prompt THEN 'over max_per_prompt' ELSE coalesce(verdict, 'no verdict') END AS reason
FROM ranked

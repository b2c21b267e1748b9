-- summary: At most so many rows of each task, drawn by seed, so that none outweighs the others.
-- source: TAPIR, arXiv:2405.13448 (instructions balanced over task types)
-- needs: task
-- param per_task: integer in 1..  -- at most so many rows of one task
WITH ranked AS (
    SELECT row_id, task, row_number() OVER (PARTITION BY task ORDER BY uniform(row_id, $seed), position) AS turn FROM rows
)
SELECT row_id, CASE WHEN task IS NOT NULL AND turn <= $per_task THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN task IS NULL THEN 'no task' WHEN turn <= $per_task THEN 'drawn' ELSE 'over per_task' END AS reason
FROM ranked

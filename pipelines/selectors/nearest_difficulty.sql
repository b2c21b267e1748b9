-- summary: Keep the prompts whose difficulty is nearest to a target.
-- source: adaptive curriculum, AdaRFT, arXiv:2504.05520
-- needs: difficulty
-- param target: number  -- the wanted difficulty, often a controller's value
-- param count: integer in 1..  -- how many rows
WITH ranked AS (
    SELECT row_id, difficulty, row_number() OVER (ORDER BY abs(difficulty - $target), uniform(row_id, $seed), position) AS place
    FROM rows
)
SELECT row_id, CASE WHEN difficulty IS NOT NULL AND place <= $count THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN difficulty IS NULL THEN 'no difficulty' WHEN place <= $count THEN 'near' ELSE 'too far from the target' END AS reason
FROM ranked

-- summary: The rows between two shares of the order by difficulty, the easiest first: a stage of a curriculum.
-- source: ADCL, arXiv:2505.08364 (batches of an order by difficulty, each reordered before it is trained on)
-- needs: difficulty
-- param above: number in 0..1 = 0.0  -- share of the rows that are easier than the kept ones
-- param up_to: number in 0..1 = 1.0  -- share of the rows that are no harder
WITH ranked AS (
    SELECT row_id, difficulty, row_number() OVER (ORDER BY difficulty NULLS LAST, uniform(row_id, $seed), position) AS place,
        count(difficulty) OVER () AS count
    FROM rows
)
SELECT row_id, CASE WHEN difficulty IS NOT NULL AND place > $above * count AND place <= $up_to * count THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN difficulty IS NULL THEN 'no difficulty' WHEN place <= $above * count THEN 'easier' WHEN place > $up_to * count THEN 'harder'
         ELSE 'between' END AS reason
FROM ranked

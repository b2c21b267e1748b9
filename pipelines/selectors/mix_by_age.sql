-- summary: A mixture of so many rows: a share from the newest round, the rest from a base and the older rounds, drawn with replacement.
-- source: Self-improving transformers, arXiv:2502.01612, and its code (get_train_dataset in lib/data_utils.py)
-- needs: prompt_id, prompt, completion, round
-- optional: completion, answer, difficulty
-- input base: prompt_id, prompt    -- one without a completion teaches its answer
-- param count: integer in 1..             -- rows to draw
-- param newest: number in 0..1 = 0.5       -- the share of the newest round
-- param base_parts: number in 0.. = 10.0  -- how many times as often as one older round the base is drawn from
-- makes rows: prompt_id, prompt, completion, sample_index, answer?, difficulty?
-- dropped: not drawn
WITH ages AS (SELECT dense_rank() OVER (ORDER BY round DESC) AS age, * FROM rows),
pool AS (
    SELECT age, row_id, position, prompt_id, prompt, completion, answer, difficulty FROM ages
    UNION ALL SELECT 0, row_id, position, prompt_id, prompt, coalesce(completion, answer), answer, difficulty FROM base
    WHERE coalesce(completion, answer) IS NOT NULL
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY age ORDER BY position) - 1 AS place, count(*) OVER (PARTITION BY age) AS size FROM pool
), draws AS (
    SELECT number, uniform('row/' || number, $seed) AS row, CASE WHEN uniform('part/' || number, $seed) < $newest THEN 1
        WHEN uniform('base/' || number, $seed) < $base_parts / ($base_parts + older) THEN 0
        ELSE 2 + floor(uniform('age/' || number, $seed) * older) END AS age
    FROM unnest(range($count)) AS d(number), (SELECT max(age) - 1 AS older FROM ages)
)
SELECT [row_id] AS parents, prompt_id, prompt, completion, number AS sample_index, answer, difficulty
FROM draws JOIN placed ON placed.age = draws.age AND place = floor(row * size)

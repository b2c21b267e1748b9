-- summary: A pool of tasks that a model poses: how many there are, how many of them are this round's, and how hard those are for its samples.
-- source: proposer and solver, Absolute Zero, arXiv:2505.03335, section 3.2 (a task that is solved always or never teaches nothing)
-- needs: prompt_id, verdict
-- input pool: prompt_id  -- the tasks so far, this round's among them
-- gives: learnable, difficulty, fresh, pool
-- warns learnable: falls, below 0.05
-- `rows` are samples of the round's new tasks. `learnable`: the share of these tasks that some samples pass and some don't; `difficulty`: the
-- mean share of samples that fail; `fresh`: their share of the pool.
WITH solved AS (
    SELECT prompt_id, avg((verdict = 'pass')::INTEGER) AS rate FROM rows WHERE verdict IN ('pass', 'fail') GROUP BY prompt_id
), sizes AS (
    SELECT count(DISTINCT prompt_id) AS pool, count(DISTINCT prompt_id) FILTER (prompt_id IN (SELECT prompt_id FROM rows)) AS fresh FROM pool
)
SELECT prompt_id, (rate > 0 AND rate < 1)::INTEGER AS learnable, 1 - rate AS difficulty, s.fresh / nullif(s.pool, 0) AS fresh, s.pool AS pool
FROM solved, sizes s

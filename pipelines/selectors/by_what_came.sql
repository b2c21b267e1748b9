-- summary: Rows labelled by the end that they led to, over any number of steps: right ends are the only supervision.
-- source: MATATA, arXiv:2411.18915 (the final outcome of a chain supervises every agent in it)
-- input ends: parents, verdict  -- judged rows
-- input steps: parents  -- the rows of the steps between
-- param right_only: boolean = false  -- whether only rows with right ends are kept
-- adds: label
-- empty: nothing came of any row, or nothing right
WITH RECURSIVE above(id, ending, passed) AS (
    SELECT unnest(parents), row_id, verdict = 'pass' FROM ends WHERE verdict IN ('pass', 'fail')
    UNION SELECT unnest(s.parents), a.ending, a.passed FROM above a JOIN steps s ON s.row_id = a.id
), told AS (SELECT id, 2 * count(*) FILTER (passed) >= count(*) AS label FROM above GROUP BY id)
SELECT r.row_id, CASE WHEN label IS NULL OR ($right_only AND NOT label) THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN label IS NULL THEN 'nothing came of it' WHEN label THEN 'led to right ends' ELSE 'led to wrong ends' END AS reason, label
FROM rows r LEFT JOIN told t ON t.id = r.row_id

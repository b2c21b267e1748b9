-- summary: Keep rewritten completions that are longer than their originals by some factor.
-- source: Self-Lengthen, arXiv:2410.23933, and its code (an extension counts when it has over 1.2 times the words)
-- needs: parents, completion
-- input first: completion  -- the originals, the parents of `rows`
-- param factor: number in 0.. = 1.2  -- more than so many times as long, in characters
-- empty: no rewriting is longer
WITH compared AS (
    SELECT r.row_id, length(r.completion) AS characters, length(f.completion) AS before
    FROM rows r LEFT JOIN first f ON f.row_id = r.parents[1]
)
SELECT row_id, CASE WHEN coalesce(characters > $factor * before, false) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN characters IS NULL OR before IS NULL THEN 'nothing to compare' WHEN characters > $factor * before THEN 'longer'
         ELSE 'not longer' END AS reason
FROM compared

-- summary: The rows with the lowest scores, a share of them.
-- source: the samples with the highest perplexity, iTool, arXiv:2501.09766 (code: active_select takes 30%)
-- needs: score
-- param share: number in 0..1  -- of the rows that have a score, rounded down, but one at least
-- dropped: a higher score, or none
-- empty: no row has a score
WITH ranked AS (
    SELECT row_id, score, row_number() OVER (PARTITION BY score IS NULL ORDER BY score, position) AS place, count(score) OVER () AS scored FROM rows
), judged AS (
    SELECT *, score IS NOT NULL AND place <= greatest(1, floor(scored * $share)) AS low FROM ranked
)
SELECT row_id, CASE WHEN low THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN low THEN 'among the lowest' WHEN score IS NULL THEN 'no score' ELSE 'a higher score' END AS reason
FROM judged

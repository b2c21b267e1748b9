-- summary: Keep second tries that are better than the first ones they were made from.
-- source: STaSC, arXiv:2503.08681, section 2.2 (filtering corrections)
-- needs: parents, verdict, score
-- input first: score  -- judged first tries, the parents of `rows`
-- param keep_equal_from: number = null  -- a second try that is only equally good is kept from this score on; null: never
-- param max_per_first: integer in 1.. = null  -- at most so many of one first try's, drawn by seed; null: all
-- empty: no second try is better than its first
WITH compared AS (
    SELECT r.row_id, r.position, r.parents[1] AS try, r.score, f.score AS before
    FROM rows r LEFT JOIN first f ON f.row_id = r.parents[1]
), judged AS (
    SELECT *, CASE WHEN score IS NULL OR before IS NULL THEN 'not judged'
        WHEN score < before THEN 'worse' WHEN score = before AND NOT coalesce(score >= $keep_equal_from, false) THEN 'no better' END AS problem
    FROM compared
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY try, problem ORDER BY uniform(row_id, $seed), position) AS place FROM judged
)
SELECT row_id, CASE WHEN problem IS NULL AND ($max_per_first IS NULL OR place <= $max_per_first) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN problem IS NOT NULL THEN problem WHEN place > $max_per_first THEN 'over max_per_first'
         WHEN score > before THEN 'better' ELSE 'as good' END AS reason
FROM ranked

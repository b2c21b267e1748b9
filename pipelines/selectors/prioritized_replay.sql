-- summary: Draws rows without replacement, each with a chance in proportion to its score.
-- source: prioritized replay, CodeIt, arXiv:2402.04858; the draw is Efraimidis and Spirakis (2006), A-ES
-- needs: score
-- param count: integer in 1..            -- rows to draw
-- param least: number in 0.. = 0.01      -- the priority of a row with score 0
WITH ranked AS (
    SELECT row_id, row_number() OVER (
        ORDER BY -ln(1 - uniform(row_id, $seed)) / greatest(coalesce(score, 0), $least), position
    ) AS place FROM rows
)
SELECT row_id, CASE WHEN place <= $count THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN place <= $count THEN 'drawn' ELSE 'not drawn' END AS reason
FROM ranked

-- summary: Draws goals by their predicted learning progress: how far two predictions of success are apart, an earlier and a later one.
-- source: MAGELLAN, arXiv:2502.07709 (absolute learning progress, and a share of goals drawn evenly); the draw: Efraimidis and Spirakis (2006), A-ES
-- needs: now_score, before_score
-- param count: integer in 1..         -- goals to draw
-- param explore: number in 0..1 = 0.2  -- share of the draws that all goals have alike; all of them while nothing has progressed
-- adds: score
WITH told AS (SELECT *, abs(now_score - before_score) AS progress FROM rows), sums AS (
    SELECT *, sum(progress ORDER BY position) OVER () AS whole, count(*) OVER () AS goals FROM told
), chances AS (
    SELECT *, CASE WHEN whole > 0 THEN $explore / goals + (1 - $explore) * progress / whole ELSE 1 / goals END AS chance FROM sums
), ranked AS (
    SELECT *, row_number() OVER (ORDER BY -ln(1 - uniform(row_id, $seed)) / nullif(chance, 0) NULLS LAST, position) AS place
    FROM chances
)
SELECT row_id, CASE WHEN progress IS NULL OR place > $count THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN progress IS NULL THEN 'no prediction' WHEN place <= $count THEN 'drawn' ELSE 'not drawn' END AS reason,
    progress AS score
FROM ranked

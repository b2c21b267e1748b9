-- summary: Draws prompts from tasks with the chances of their arms: a softmax of how much they teach, and of how seldom they were tried.
-- source: SEC, arXiv:2505.14970 (Boltzmann); DUMP, arXiv:2504.09710 (bonus: 1, UCB); the draw is Efraimidis and Spirakis (2006), A-ES
-- needs: task
-- input arms: task, value, pulls  -- rows of `arms`; of a task's several, the last counts
-- param count: integer  -- prompts to draw
-- param temperature: number = 1.0  -- of the softmax
-- param bonus: number = 0.0  -- weight of sqrt(2 ln(all pulls + 1) / (own pulls + 1))
WITH latest AS (
    SELECT * FROM arms QUALIFY row_number() OVER (PARTITION BY task ORDER BY position DESC) = 1
), rated AS (
    SELECT task, (value + $bonus * sqrt(2 * ln(sum(pulls) OVER () + 1) / (pulls + 1))) / $temperature AS logit FROM latest
), shares AS (SELECT task, exp(logit - max(logit) OVER ()) AS share FROM rated), chances AS (
    SELECT r.row_id, r.position, s.share / count(*) OVER (PARTITION BY r.task) AS chance
    FROM rows r LEFT JOIN shares s ON s.task = r.task
), ranked AS (
    SELECT *, row_number() OVER (ORDER BY chance IS NULL, -ln(1 - uniform(row_id, $seed)) / chance, position) AS turn FROM chances
)
SELECT row_id, CASE WHEN chance IS NOT NULL AND turn <= $count THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN chance IS NULL THEN 'no arm' WHEN turn <= $count THEN 'drawn' ELSE 'not drawn' END AS reason
FROM ranked

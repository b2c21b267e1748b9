-- summary: Draws prompts from tasks with the chances that a bandit gives its arms: a softmax of their values, UCB or EXP3.
-- source: SEC, arXiv:2505.14970 (boltzmann); DUMP, arXiv:2504.09710 (ucb); exp3: Auer et al., SIAM J. Comput. 32 (2002); the draw: Efraimidis and Spirakis (2006), A-ES
-- needs: task
-- optional: difficulty
-- input arms: task, value, earned, pulls  -- rows of `bandit_arms`; of an arm's several, the last counts
-- param by: text in task, difficulty = 'task'  -- as for `bandit_arms`
-- param count: integer in 1..  -- prompts to draw
-- param policy: text in boltzmann, ucb, exp3 = 'boltzmann'  -- 'boltzmann': a softmax of the values; 'ucb': of the values and of how seldom an arm was tried; 'exp3': of what an arm has earned in all its rounds
-- param temperature: number = 1.0  -- of the softmax
-- param bonus: number in 0.. = 1.0  -- of ucb: weight of sqrt(2 ln(all pulls + 1) / (own pulls + 1))
-- param explore: number in 0..1 = 0.0  -- share of the draws that all arms have alike
WITH latest AS (
    SELECT * FROM arms QUALIFY row_number() OVER (PARTITION BY task ORDER BY position DESC) = 1
), rated AS (
    SELECT task, CASE $policy WHEN 'boltzmann' THEN value WHEN 'exp3' THEN earned
        WHEN 'ucb' THEN value + $bonus * sqrt(2 * ln(sum(pulls) OVER () + 1) / (pulls + 1)) END / $temperature AS logit FROM latest
), shares AS (SELECT task, exp(logit - max(logit) OVER ()) AS share FROM rated), mixed AS (
    SELECT task, (1 - $explore) * share / sum(share) OVER () + $explore / count(*) OVER () AS share FROM shares
), chances AS (
    SELECT r.row_id, r.position, s.share / count(*) OVER (PARTITION BY s.task) AS chance
    FROM rows r LEFT JOIN mixed s ON s.task = CASE $by WHEN 'task' THEN r.task WHEN 'difficulty' THEN r.task || ' ' || r.difficulty END
), ranked AS (
    SELECT *, row_number() OVER (ORDER BY chance IS NULL, -ln(1 - uniform(row_id, $seed)) / chance, position) AS turn FROM chances
)
SELECT row_id, CASE WHEN chance IS NOT NULL AND turn <= $count THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN chance IS NULL THEN 'no arm' WHEN turn <= $count THEN 'drawn' ELSE 'not drawn' END AS reason
FROM ranked

-- summary: Each task, or group of tasks, as an arm of a bandit: how much its rollouts teach, by one of four measures, and how many of them told that.
-- source: SEC, arXiv:2505.14970 (advantage, rate: TD(0) from 0); DUMP, arXiv:2504.09710 (the mean, there over a window); learning progress: arXiv:1707.00183; learning potential: PAPRIKA, arXiv:2502.17543; EXP3: Auer et al., SIAM J. Comput. 32 (2002)
-- needs: task, round, prompt_id, verdict
-- optional: advantage, difficulty
-- param worth: text in advantage, variance, progress, potential = 'advantage'  -- of a round: the mean absolute advantage; 'variance' p (1 - p) of the prompts' pass rates, their mean; 'progress', how far the task's pass rate moved since the round before; 'potential', the spread of the prompts' passes over their pass rate, 0 where none passed, their mean
-- param by: text in task, difficulty = 'task'  -- what an arm is: a 'task', or the prompts of a task and 'difficulty'
-- param rate: number in 0..1 = null  -- weight of an arm's latest round against all before; null: all its rounds count by their rollouts
-- makes prompts: prompt_id, prompt, task, value, earned, pulls
-- dropped: no task
WITH arms AS (SELECT * REPLACE (CASE $by WHEN 'task' THEN task WHEN 'difficulty' THEN task || ' ' || difficulty END AS task) FROM rows), told AS (
    SELECT *, CASE verdict WHEN 'pass' THEN 1.0 WHEN 'fail' THEN 0.0 END AS passed FROM arms WHERE task IS NOT NULL
), prompts AS (SELECT task, round, prompt_id, avg(passed) AS rate FROM told GROUP BY ALL), variances AS (
    SELECT task, round, avg(rate * (1 - rate) ORDER BY prompt_id) AS variance,
        avg(CASE WHEN rate > 0 THEN sqrt(rate * (1 - rate)) / rate ELSE rate END ORDER BY prompt_id) AS potential
    FROM prompts GROUP BY ALL
), rounds AS (
    SELECT task, round, list(row_id ORDER BY position) AS ids, min(position) AS position, avg(passed) AS solved,
        avg(abs(advantage) ORDER BY position) AS advantage, count(CASE WHEN $worth = 'advantage' THEN advantage ELSE passed END) AS pulls
    FROM told GROUP BY task, round
), worths AS (
    SELECT *, CASE $worth WHEN 'advantage' THEN advantage WHEN 'variance' THEN variance WHEN 'potential' THEN potential
        WHEN 'progress' THEN abs(solved - lag(solved) OVER (PARTITION BY task ORDER BY round, position)) END AS worth
    FROM rounds JOIN variances USING (task, round)
), aged AS (
    SELECT *, count(worth) OVER (PARTITION BY task ORDER BY round DESC RANGE UNBOUNDED PRECEDING) - 1 AS later FROM worths
)
SELECT flatten(list(ids ORDER BY position)) AS parents, 'arm/' || task AS prompt_id, task AS prompt, task,
    coalesce(CASE WHEN $rate IS NULL THEN sum(worth * pulls ORDER BY round) / nullif(sum(pulls) FILTER (worth IS NOT NULL), 0)
        ELSE sum($rate * (1 - $rate) ^ later * worth ORDER BY round) END, 0) AS value,
    coalesce(sum(worth ORDER BY round), 0) AS earned, sum(pulls)::BIGINT AS pulls
FROM aged GROUP BY task

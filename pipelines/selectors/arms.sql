-- summary: Each task as an arm of a bandit: how much its rollouts have taught so far (mean absolute advantage), and how many there were.
-- source: SEC, arXiv:2505.14970 (with rate: TD(0) from 0); DUMP, arXiv:2504.09710 (the mean, there over a window)
-- needs: task, round
-- optional: advantage
-- param rate: number = null  -- weight of an arm's latest round against all before; null: all its rollouts count alike
-- makes prompts: prompt_id, prompt, task, value, pulls
-- dropped: no task
WITH rounds AS (
    SELECT task, round, list(row_id ORDER BY position) AS ids, avg(abs(advantage)) AS gain, count(advantage) AS pulls, min(position) AS position
    FROM rows WHERE task IS NOT NULL GROUP BY task, round
), aged AS (
    SELECT *, count(gain) OVER (PARTITION BY task ORDER BY round DESC RANGE UNBOUNDED PRECEDING) - 1 AS later FROM rounds
)
SELECT flatten(list(ids ORDER BY position)) AS parents, 'arm/' || task AS prompt_id, task AS prompt, task,
    coalesce(CASE WHEN $rate IS NULL THEN sum(gain * pulls) / nullif(sum(pulls), 0) ELSE sum($rate * (1 - $rate) ^ later * gain) END, 0) AS value,
    sum(pulls)::BIGINT AS pulls
FROM aged GROUP BY task

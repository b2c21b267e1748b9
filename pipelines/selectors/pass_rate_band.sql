-- summary: Keep the rows of prompts that are neither too easy nor too hard for the model that sampled them.
-- source: online difficulty filtering, arXiv:2504.03380 (a band around one half)
-- needs: prompt_id, verdict
-- param low: number in 0..1 = 0.2  -- least pass rate of a kept prompt
-- param high: number in 0..1 = 0.8  -- greatest
-- empty: no prompt is in the band
WITH rated AS (
    SELECT row_id, count(*) FILTER (verdict = 'pass') OVER (PARTITION BY prompt_id)
        / nullif(count(*) FILTER (verdict IN ('pass', 'fail')) OVER (PARTITION BY prompt_id), 0) AS pass_rate
    FROM rows
)
SELECT row_id, CASE WHEN pass_rate BETWEEN $low AND $high THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN pass_rate < $low THEN 'too hard' WHEN pass_rate > $high THEN 'too easy' WHEN pass_rate IS NULL THEN 'only errors'
         ELSE 'in the band' END AS reason
FROM rated

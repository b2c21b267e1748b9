-- summary: Goals that were tried, with the share of their episodes that reached them.
-- source: MAGELLAN, arXiv:2502.07709 (what a competence predictor learns: goals and whether they were reached)
-- needs: prompt_id
-- input episodes: prompt_id, verdict  -- tries at them
-- adds: value
-- empty: no goal was tried
WITH told AS (
    SELECT prompt_id, count(*) FILTER (verdict = 'pass') / nullif(count(*) FILTER (verdict IN ('pass', 'fail')), 0) AS reached
    FROM episodes GROUP BY prompt_id
)
SELECT r.row_id, CASE WHEN reached IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN reached IS NULL THEN 'not tried' ELSE 'tried' END AS reason, reached AS value
FROM rows r LEFT JOIN told t USING (prompt_id)

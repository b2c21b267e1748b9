-- summary: Rows with the mean score of their children: a question by the answers it led to, a candidate by its duels.
-- source: STaR-GATE, arXiv:2403.19154; MBR self-training, arXiv:2410.02902 (children: judged `duels`, whose first parent is the candidate)
-- input children: parents, score  -- scored rows whose first parents are `rows`
-- adds: score
-- empty: nothing that was made of any row has a score
WITH told AS (SELECT parents[1] AS id, avg(score) AS mean FROM children WHERE score IS NOT NULL GROUP BY parents[1])
SELECT r.row_id, CASE WHEN mean IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN mean IS NULL THEN 'nothing that was made of it has a score' ELSE 'scored' END AS reason, mean AS score
FROM rows r LEFT JOIN told t ON t.id = r.row_id

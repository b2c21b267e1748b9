-- summary: Rows beside the completion that another model wrote to their prompt, in {other}: an oracle's answer, a reference.
-- source: STaR-GATE, arXiv:2403.19154 (how likely the oracle's response is after a question and its reply)
-- needs: prompt_id
-- input others: prompt_id, completion  -- one row for each prompt; of several, the first counts
-- adds: other
WITH told AS (SELECT prompt_id, first(completion ORDER BY position) AS other FROM others WHERE completion IS NOT NULL GROUP BY prompt_id)
SELECT r.row_id, CASE WHEN other IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN other IS NULL THEN 'nothing else was written to its prompt' ELSE 'beside another' END AS reason, other
FROM rows r LEFT JOIN told t ON t.prompt_id = r.prompt_id

-- summary: Keep the rows that others were made from, over any number of steps.
-- source: STaR-GATE, arXiv:2403.19154 (the questions of the dialogues that were chosen)
-- needs: parents
-- input others: parents  -- the rows at the end
-- input steps: parents  -- the rows of the steps between
-- empty: nothing was made of any of them
WITH RECURSIVE links AS (
    SELECT row_id, parents FROM rows UNION ALL SELECT row_id, parents FROM steps
), above(id) AS (
    SELECT unnest(parents) FROM others UNION SELECT unnest(l.parents) FROM above a JOIN links l ON l.row_id = a.id
)
SELECT r.row_id, CASE WHEN a.id IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN a.id IS NULL THEN 'nothing was made of it' ELSE 'led there' END AS reason
FROM rows r LEFT JOIN above a ON a.id = r.row_id

-- summary: Answered parts beside the prompt id of the question that each is a part of, in {whole}.
-- source: the compositionality gap, arXiv:2210.03350, asks of a question whether all of its parts were answered rightly
-- needs: prompt_id
-- input made: parents         -- prompts that `explode` made from `wholes`
-- input wholes: prompt_id     -- the rows that were taken apart
-- adds: whole
-- empty: no row answers a part
WITH told AS (SELECT m.row_id AS part, min(w.prompt_id) AS whole FROM made m JOIN wholes w ON w.row_id = m.parents[1] GROUP BY m.row_id)
SELECT r.row_id, CASE WHEN whole IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN whole IS NULL THEN 'no part of these questions' ELSE 'part' END AS reason, whole
FROM rows r LEFT JOIN told t ON t.part = r.prompt_id

-- summary: Rows beside what was written about their kind of task, in {other}: a rubric, an example, a note.
-- source: CITING, arXiv:2310.02527 (the teacher's rubric for questions of this type)
-- needs: task
-- input others: task, completion  -- one row for each kind of task; of several, the first counts
-- adds: other
-- empty: nothing was written about any of these kinds
WITH told AS (SELECT task, first(completion ORDER BY position) AS other FROM others WHERE completion IS NOT NULL GROUP BY task)
SELECT r.row_id, CASE WHEN other IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN other IS NULL THEN 'nothing was written about its kind' ELSE 'beside its kind' END AS reason, other
FROM rows r LEFT JOIN told t ON t.task = r.task

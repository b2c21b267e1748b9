-- summary: Keep rows that have a reference answer.
-- needs: answer
-- empty: nothing has an answer
SELECT row_id, CASE WHEN answer IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN answer IS NULL THEN 'no answer' ELSE 'has an answer' END AS reason
FROM rows

-- summary: Keep the rows whose prompts occur in other rows.
-- source: SECToR, arXiv:2309.08589 (the simplifications of problems whose guesses agree)
-- needs: prompt_id
-- input others: prompt_id  -- rows of the prompts to keep
-- empty: the other rows have none of these prompts
WITH there AS (SELECT DISTINCT prompt_id FROM others)
SELECT r.row_id, CASE WHEN t.prompt_id IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN t.prompt_id IS NULL THEN 'not among these prompts' ELSE 'of these prompts' END AS reason
FROM rows r LEFT JOIN there t ON t.prompt_id = r.prompt_id

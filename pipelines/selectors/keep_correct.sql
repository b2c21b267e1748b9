-- summary: Keep completions that the verifier accepts, at most some for each prompt.
-- source: ReST-EM, arXiv:2312.06585, section 3 (filtering, and a cap on the solutions of one problem)
-- needs: prompt_id, prompt, completion, verdict
-- param max_per_prompt: integer in 1.. = null  -- at most so many rows of one prompt, drawn by seed; null: all
-- param deduplicate: boolean = false  -- whether equal completions of one prompt count once
WITH first_ones AS (
    SELECT * REPLACE (coalesce(verdict, 'no verdict') AS verdict),
        row_number() OVER (PARTITION BY prompt_id, completion, verdict ORDER BY position) AS occurrence
    FROM rows
), ranked AS (
    SELECT *, verdict = 'pass' AND (occurrence = 1 OR NOT $deduplicate) AS candidate,
        row_number() OVER (PARTITION BY prompt_id, verdict = 'pass' AND (occurrence = 1 OR NOT $deduplicate)
                           ORDER BY uniform(row_id, $seed), position) AS place
    FROM first_ones
)
SELECT row_id,
    CASE WHEN candidate AND ($max_per_prompt IS NULL OR place <= $max_per_prompt) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN verdict <> 'pass' THEN verdict
         WHEN NOT candidate THEN 'same completion kept already'
         WHEN place > $max_per_prompt THEN 'over max_per_prompt'
         ELSE 'pass' END AS reason
FROM ranked

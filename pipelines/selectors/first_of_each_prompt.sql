-- summary: Keep the first row of each prompt: a pool of prompts without its repeats, or one sample of each.
-- needs: prompt_id
-- It decides by position, so rows that share an id, such as a prompt in several rounds' pools, may be among them.
WITH numbered AS (SELECT position, row_number() OVER (PARTITION BY prompt_id ORDER BY position) AS turn FROM rows)
SELECT position, CASE WHEN turn = 1 THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN turn = 1 THEN 'first of its prompt' ELSE 'its prompt is kept already' END AS reason
FROM numbered

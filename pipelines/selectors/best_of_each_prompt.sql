-- summary: Keep one row of each prompt, the one with the highest score, such as one of the most voted answer; of several the first.
-- needs: prompt_id, score
WITH ranked AS (
    SELECT row_id, row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC NULLS LAST, position) AS place FROM rows
)
SELECT row_id, CASE WHEN place = 1 THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN place = 1 THEN 'best of its prompt' ELSE 'its prompt has a better one, or an equal one before it' END AS reason
FROM ranked

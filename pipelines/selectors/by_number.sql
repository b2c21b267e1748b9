-- summary: Keep the completion of each prompt whose number a model names, counted as `numbered` does; without a number the first one.
-- source: Universal Self-Consistency, arXiv:2311.17311, section 3 (the model's choice is a number)
-- needs: prompt_id, completion
-- input choice: prompt_id, completion  -- one for each prompt; of several, the first counts
-- param extract: text = '(\d+)\D*$'  -- a regular expression; its first group is the number. Default: the last number in the text
WITH told AS (
    SELECT prompt_id, try_cast(nullif(regexp_extract(first(completion ORDER BY position), $extract, 1), '') AS BIGINT) AS number
    FROM choice WHERE completion IS NOT NULL GROUP BY prompt_id
), placed AS (
    SELECT row_id, prompt_id, completion IS NOT NULL AS there,
        row_number() OVER (PARTITION BY prompt_id, completion IS NOT NULL ORDER BY position) AS number FROM rows
), counted AS (SELECT *, count(*) FILTER (there) OVER (PARTITION BY prompt_id) AS known FROM placed), wanted AS (
    SELECT c.*, CASE WHEN t.number BETWEEN 1 AND known THEN t.number ELSE 1 END AS chosen, coalesce(t.number BETWEEN 1 AND known, false) AS named
    FROM counted c LEFT JOIN told t ON t.prompt_id = c.prompt_id
)
SELECT row_id, CASE WHEN there AND number = chosen THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN NOT there THEN 'no completion' WHEN number <> chosen THEN 'another one is kept'
        WHEN named THEN 'its number is named' ELSE 'no number of a completion is named' END AS reason
FROM wanted

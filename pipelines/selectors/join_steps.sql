-- summary: Completions from their steps, each from its first step up to where one is missing.
-- needs: parents, prompt_id, prompt, step_index, completion
-- makes rows: prompt_id, prompt, completion, steps, *
-- dropped: a step before it is missing
WITH placed AS (
    SELECT *, parents[1] AS whole, row_number() OVER (PARTITION BY parents[1] ORDER BY step_index, position) - 1 AS place FROM rows
)
SELECT list(row_id ORDER BY step_index, position) AS parents, prompt_id, prompt,
    string_agg(completion, '' ORDER BY step_index, position) AS completion, count(*) AS steps
FROM placed WHERE place = step_index GROUP BY whole, prompt_id, prompt

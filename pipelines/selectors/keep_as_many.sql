-- summary: As many rows as keep_correct would keep, drawn without asking the verifier. The control of a filter.
-- needs: prompt_id, verdict
-- param max_per_prompt: integer in 1.. = null  -- at most so many rows of one prompt; null: all
WITH wanted AS (
    SELECT sum(least(passes, coalesce($max_per_prompt, passes))) AS count
    FROM (SELECT count(*) FILTER (verdict = 'pass') AS passes FROM rows GROUP BY prompt_id)
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id ORDER BY uniform(row_id, $seed), position)
        > coalesce($max_per_prompt, 9223372036854775807) AS over
    FROM rows
), drawn AS (
    SELECT *, row_number() OVER (ORDER BY over, uniform(row_id, $seed), position) AS turn FROM ranked
)
SELECT row_id,
    CASE WHEN NOT over AND turn <= count THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN over THEN 'over max_per_prompt' WHEN turn > count THEN 'not drawn' ELSE 'drawn' END AS reason
FROM drawn, wanted

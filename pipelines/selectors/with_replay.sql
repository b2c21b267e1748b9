-- summary: All rows, and rows of a replay set worth a fraction of them, against forgetting.
-- needs: prompt_id, prompt, completion
-- optional: completion, answer, difficulty
-- input replay: prompt_id, prompt  -- rows to mix in; one without a completion teaches its answer
-- param fraction: number in 0.. = 0.25  -- replayed rows, as a share of all rows
-- makes rows: prompt_id, prompt, completion, answer?, difficulty?
WITH drawn AS (
    SELECT * FROM replay WHERE coalesce(completion, answer) IS NOT NULL
    QUALIFY row_number() OVER (ORDER BY uniform(row_id, $seed), position)
        <= ceil($fraction * (SELECT count(*) FROM rows))
)
SELECT [row_id] AS parents, prompt_id, prompt, completion, answer, difficulty FROM rows
UNION ALL
SELECT [row_id], prompt_id, prompt, coalesce(completion, answer), answer, difficulty FROM drawn

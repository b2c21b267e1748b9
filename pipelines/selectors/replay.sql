-- summary: Rows that teach the reference answer, drawn by seed, with a weight of 1; for trainers that weigh rows.
-- needs: prompt_id, prompt, answer
-- optional: difficulty
-- param count: integer in 1..  -- how many rows
-- makes rows: prompt_id, prompt, completion, weight, answer?, difficulty?
-- dropped: not drawn
SELECT [row_id] AS parents, prompt_id, prompt, answer AS completion, 1.0::DOUBLE AS weight, answer, difficulty
FROM rows WHERE answer IS NOT NULL
QUALIFY row_number() OVER (ORDER BY uniform(row_id, $seed), position) <= $count

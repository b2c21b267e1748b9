-- summary: Right rows as the model was asked: the hint before the prompt is part of the prompt to learn.
-- source: SECToR, arXiv:2309.08589, which teaches slow answers beside the fast ones
-- needs: prompt_id, prompt, hint, completion, verdict
-- optional: answer, difficulty
-- param max_per_prompt: integer in 1.. = 1  -- at most so many rows of one prompt, drawn by seed
-- makes rows: prompt_id, prompt, completion, answer?, difficulty?
-- dropped: not right, or over max_per_prompt
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id ORDER BY uniform(row_id, $seed), position) AS place FROM rows
    WHERE verdict = 'pass' AND completion IS NOT NULL
)
SELECT [row_id] AS parents, prompt_id, coalesce(hint, '') || prompt AS prompt, completion, answer, difficulty
FROM ranked WHERE place <= $max_per_prompt

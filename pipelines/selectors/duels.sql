-- summary: Every two different completions of one prompt, in both orders, for a judge that says which is better.
-- source: arXiv:2306.05685, section 3.4 (both orders, against position bias)
-- needs: prompt_id, prompt, completion
-- optional: difficulty
-- param pairs_per_prompt: integer in 1.. = null  -- at most so many pairs of one prompt, drawn by seed; null: all
-- makes rows: prompt_id, prompt, completion, other, difficulty?
-- dropped: no other completion of its prompt, or over pairs_per_prompt
-- empty: no prompt has two different completions
WITH pairs AS (
    SELECT a.*, b.row_id AS other_id, b.completion AS other,
        row_number() OVER (PARTITION BY a.prompt_id ORDER BY uniform(a.row_id || b.row_id, $seed), a.position, b.position) AS place
    FROM rows a JOIN rows b ON a.prompt_id = b.prompt_id AND a.position < b.position AND a.completion <> b.completion
), drawn AS (
    SELECT * FROM pairs WHERE $pairs_per_prompt IS NULL OR place <= $pairs_per_prompt
)
SELECT [row_id, other_id] AS parents, prompt_id, prompt, completion, other, difficulty FROM drawn
UNION ALL
SELECT [other_id, row_id], prompt_id, prompt, other, completion, difficulty FROM drawn

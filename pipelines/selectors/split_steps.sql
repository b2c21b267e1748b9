-- summary: The steps of each completion as rows: `prefix` is the text before the step, and the step keeps its separator.
-- source: lines of a solution as steps, Let's Verify Step by Step, arXiv:2305.20050, section 2
-- needs: prompt_id, prompt, completion
-- optional: finish_reason
-- param separator: text = null  -- the end of a step; null: a line break
-- makes rows: prompt_id, prompt, step_index, prefix, completion, terminal, *
-- dropped: no completion
WITH given AS (
    SELECT *, coalesce($separator, chr(10)) AS mark FROM rows WHERE completion IS NOT NULL
), cut AS (  -- what follows the last separator is a step, unless it is empty and not the only one
    SELECT *, string_split(completion, mark) AS parts, greatest(len(parts) - (parts[-1] = '')::INTEGER, 1) AS steps FROM given
), placed AS (
    SELECT *, unnest(range(1, steps + 1)) AS place FROM cut
)
SELECT [row_id] AS parents, prompt_id, prompt, place - 1 AS step_index,
    array_to_string(list_prepend('', [part || mark FOR part IN parts[:place - 1]]), '') AS prefix,
    parts[place] || CASE WHEN place < len(parts) THEN mark ELSE '' END AS completion,
    place = steps AND finish_reason IS DISTINCT FROM 'length' AS terminal
FROM placed

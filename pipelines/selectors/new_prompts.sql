-- summary: Prompts that a checkpoint posed, extracted from its completions, without known ones and duplicates.
-- source: Self-Instruct, arXiv:2212.10560, section 2.2 (there prompts similar to a known one are left out too)
-- needs: completion
-- optional: finish_reason, difficulty
-- input known: prompt  -- existing prompts
-- param pattern: text = '^\s*(.*\S)\s*$'  -- RE2; its first group is the prompt
-- param count: integer in 1.. = null  -- at most so many, drawn by seed; null: all
-- makes prompts: prompt_id, prompt, difficulty?
-- dropped: no prompt in it, known already, or not drawn
-- empty: nothing new was posed
WITH posed AS (
    SELECT *, regexp_extract(completion, $pattern, 1, 's') AS prompt_ FROM rows
    WHERE regexp_matches(completion, $pattern, 's') AND coalesce(finish_reason <> 'length', true)
), fresh AS (
    SELECT prompt_ AS prompt, list(row_id ORDER BY position) AS parents, first(difficulty ORDER BY position) AS difficulty, min(position) AS position
    FROM posed WHERE prompt_ <> '' AND prompt_ NOT IN (SELECT prompt FROM known WHERE prompt IS NOT NULL) GROUP BY prompt_
)
SELECT parents, left(sha256('posed/' || prompt), 20) AS prompt_id, prompt, difficulty FROM fresh
QUALIFY $count IS NULL OR row_number() OVER (ORDER BY uniform(prompt, $seed), position) <= $count

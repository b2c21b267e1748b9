-- summary: Tasks that a checkpoint posed for environments: each in the environment, and with the entry, of the task it was made from.
-- source: WebRL, arXiv:2411.02337 (new instructions from failed ones, for the same sites)
-- needs: completion, task, entry
-- optional: finish_reason, difficulty
-- input known: prompt  -- existing tasks
-- makes prompts: prompt_id, prompt, task, entry, difficulty?
-- dropped: no text, cut off, or known already
-- empty: nothing new was posed
WITH posed AS (
    SELECT *, trim(completion, ' ' || chr(9) || chr(10) || chr(13)) AS text FROM rows WHERE coalesce(finish_reason <> 'length', true)
), fresh AS (
    SELECT list(row_id ORDER BY position) AS parents, text AS prompt, task, entry, first(difficulty ORDER BY position) AS difficulty,
        min(position) AS position
    FROM posed WHERE text <> '' AND text NOT IN (SELECT prompt FROM known WHERE prompt IS NOT NULL) GROUP BY text, task, entry
)
SELECT parents, left(sha256('posed/' || prompt || '/' || task || '/' || coalesce(entry, '')), 20) AS prompt_id, prompt, task, entry, difficulty
FROM fresh ORDER BY position

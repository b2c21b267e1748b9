-- summary: Preference pairs of the data's completion against the model's own for the same prompt.
-- source: SPIN, arXiv:2401.01335, section 4 (own samples are the opponent's; those of the last rounds may be pooled)
-- needs: prompt_id, prompt, completion, round
-- optional: completion, answer, difficulty
-- input data: prompt_id, prompt  -- the target completions; a row without a completion teaches its answer
-- param latest: integer in 1.. = 1  -- samples of so many of the latest rounds
-- makes rows: prompt_id, prompt, chosen, rejected, answer?, difficulty?
-- dropped: of an earlier round, without data for its prompt, or the data's own completion
-- empty: the model writes what the data says for every prompt
WITH wanted AS (
    SELECT *, coalesce(completion, answer) AS text FROM data WHERE coalesce(completion, answer) IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY position) = 1
), own AS (
    SELECT * FROM rows WHERE completion IS NOT NULL AND round > (SELECT max(round) FROM rows) - $latest
)
SELECT [o.row_id, w.row_id] AS parents, o.prompt_id, o.prompt, w.text AS chosen, o.completion AS rejected, o.answer, o.difficulty
FROM own o JOIN wanted w USING (prompt_id) WHERE o.completion <> w.text

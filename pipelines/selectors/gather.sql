-- summary: Rows beside the answers to the prompts that were made from them, in order, where all were answered.
-- source: Iterated Amplification, arXiv:1810.08575 (the answers to the parts are combined)
-- needs: prompt_id, prompt
-- optional: answer, difficulty
-- input made: parents, part                  -- prompts that `explode` made from `rows`
-- input answers: prompt_id, completion       -- one for each of them
-- param separator: text = ' '                -- text between the answers, in the column `gathered`
-- makes rows: prompt_id, prompt, gathered, answer?, difficulty?
-- dropped: nothing was made from it, or a part has no answer
-- empty: no row has answers to all of its parts
WITH told AS (SELECT prompt_id, first(completion ORDER BY position) AS text FROM answers WHERE completion IS NOT NULL GROUP BY prompt_id),
joined AS (
    SELECT m.parents[1] AS whole, string_agg(text, $separator ORDER BY m.part, m.position) AS gathered, count(*) = count(text) AS all_told
    FROM made m LEFT JOIN told t ON t.prompt_id = m.row_id GROUP BY m.parents[1]
)
SELECT [r.row_id] AS parents, r.prompt_id, r.prompt, j.gathered, r.answer, r.difficulty
FROM rows r JOIN joined j ON j.whole = r.row_id WHERE all_told

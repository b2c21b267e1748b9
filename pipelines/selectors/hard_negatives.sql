-- summary: Pairs of the right and the wrong completion of each prompt that a reward model scores highest: mistakes that it still takes for right.
-- source: reinforced re-ranking, arXiv:2504.09643 (high-scoring negative examples go back into training)
-- needs: prompt_id, prompt, completion, verdict, rm_score
-- optional: answer, difficulty
-- param pairs_per_prompt: integer in 1.. = 1  -- the first right with the first wrong one, the second with the second, ...
-- makes rows: prompt_id, prompt, chosen, rejected, answer?, difficulty?
-- dropped: of its prompt there is no partner, or a better liked one
-- empty: no prompt has a right and a wrong completion
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id, verdict ORDER BY rm_score DESC NULLS LAST, position) AS place
    FROM rows WHERE verdict IN ('pass', 'fail') AND completion IS NOT NULL
)
SELECT [w.row_id, l.row_id] AS parents, w.prompt_id, w.prompt, w.completion AS chosen, l.completion AS rejected, w.answer, w.difficulty
FROM ranked w JOIN ranked l ON w.prompt_id = l.prompt_id AND w.place = l.place
WHERE w.verdict = 'pass' AND l.verdict = 'fail' AND w.place <= $pairs_per_prompt

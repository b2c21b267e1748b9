-- summary: The completions that searches found, each prompt's best first.
-- source: what is learnt of a tree, ReST-MCTS*, arXiv:2406.03816, section 3.3
-- needs: prompt_id, prompt, prefix, completion, terminal, score, verdict
-- param per_prompt: integer in 1.. = 1  -- so many different completions of a prompt
-- param right: boolean = false  -- only those that the verifier passes
-- makes rows: prompt_id, prompt, completion, score, verdict, *
-- dropped: no completion of the search, or a prompt has better ones
-- empty: no search came to an end
WITH ended AS (
    SELECT *, prefix || completion AS whole FROM rows WHERE terminal AND score IS NOT NULL AND (verdict = 'pass' OR NOT $right)
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, position) AS place FROM ended
    QUALIFY row_number() OVER (PARTITION BY prompt_id, whole ORDER BY score DESC, position) = 1
)
SELECT [row_id] AS parents, prompt_id, prompt, whole AS completion, score, verdict FROM ranked WHERE place <= $per_prompt

-- summary: Preference pairs of a right and a wrong completion of the same prompt.
-- source: V-STaR, arXiv:2402.06457 (verifier); Iterative RPO, arXiv:2404.19733, section 2 (policy; its samples are reused)
-- needs: prompt_id, prompt, completion, verdict
-- optional: answer, difficulty
-- param pairs_per_prompt: integer in 1.. = 1  -- at most so many pairs of one prompt, drawn by seed
-- param reuse: boolean = false  -- whether the fewer of right and wrong ones start again, so that a sample is in several pairs
-- makes rows: prompt_id, prompt, chosen, rejected, answer?, difficulty?
-- dropped: no partner, or over pairs_per_prompt
-- empty: no prompt has a right and a wrong completion
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id, verdict ORDER BY uniform(row_id, $seed), position) - 1 AS place,
        count(*) FILTER (verdict = 'pass') OVER (PARTITION BY prompt_id) AS right_ones,
        count(*) FILTER (verdict = 'fail') OVER (PARTITION BY prompt_id) AS wrong_ones
    FROM rows
), numbered AS (
    SELECT *, unnest(range(least($pairs_per_prompt,
        CASE WHEN $reuse THEN lcm(right_ones, wrong_ones) ELSE least(right_ones, wrong_ones) END))) AS pair
    FROM ranked WHERE verdict IN ('pass', 'fail')
)
SELECT [c.row_id, r.row_id] AS parents, c.prompt_id, c.prompt, c.completion AS chosen, r.completion AS rejected,
    c.answer, c.difficulty
FROM numbered c JOIN numbered r ON c.prompt_id = r.prompt_id AND c.pair = r.pair
WHERE c.verdict = 'pass' AND c.place = c.pair % c.right_ones AND r.verdict = 'fail' AND r.place = r.pair % r.wrong_ones

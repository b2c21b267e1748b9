-- summary: The prompts that no sample (or fewer than some) solved, as prompts for a second, guided try.
-- source: Socratic-guided sampling, arXiv:2411.00750; rationalization starts from them too (STaR, arXiv:2203.14465)
-- needs: prompt_id, prompt, verdict
-- param passes: integer in 1.. = 1  -- prompts with fewer right samples than this
-- makes prompts: prompt_id, prompt, *
-- dropped: its prompt was solved
-- empty: every prompt was solved
SELECT list(row_id ORDER BY position) AS parents, prompt_id, first(prompt ORDER BY position) AS prompt
FROM rows GROUP BY prompt_id HAVING count(*) FILTER (verdict = 'pass') < $passes

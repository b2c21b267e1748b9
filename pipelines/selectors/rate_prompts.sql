-- summary: Prompts with the share of failed tries as their difficulty for the checkpoint that tried.
-- source: ADCL, arXiv:2505.08364 (difficulty re-estimated with the current model)
-- needs: prompt_id, prompt, verdict
-- makes prompts: prompt_id, prompt, difficulty, *
-- dropped: only errors
SELECT list(row_id ORDER BY position) AS parents, prompt_id, first(prompt ORDER BY position) AS prompt,
    count(*) FILTER (verdict = 'fail') / count(*) FILTER (verdict IN ('pass', 'fail')) AS difficulty
FROM rows GROUP BY prompt_id HAVING count(*) FILTER (verdict IN ('pass', 'fail')) > 0

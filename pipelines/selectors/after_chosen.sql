-- summary: The prompt of each walk's next step: the last one's with the chosen step behind it, while that step does not end the completion.
-- source: greedy steps by the model's own judgment, arXiv:2503.03746, section 3.3
-- needs: prompt_id, prompt, completion
-- optional: finish_reason
-- input pairs: prompt_id, chosen  -- at most one pair of each prompt; a prompt without one goes on with the first of its steps
-- param separator: text = null  -- the end of a step that others follow; null: a line break
-- makes prompts: prompt_id, prompt, *
-- dropped: another step was chosen, or the chosen one is the last
-- empty: every completion has ended
WITH chosen AS (
    SELECT r.*, coalesce($separator, chr(10)) AS mark FROM rows r LEFT JOIN pairs p USING (prompt_id)
    WHERE r.completion IS NOT NULL AND r.completion = coalesce(p.chosen, r.completion)
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY r.position) = 1
)
SELECT [row_id] AS parents, left(sha256(row_id || '/' || prompt || completion), 20) AS prompt_id, prompt || completion AS prompt
FROM chosen WHERE ends_with(completion, mark) AND finish_reason IS DISTINCT FROM 'length'

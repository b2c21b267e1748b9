-- summary: Right answers unchanged, and wrong ones with a refusal after them.
-- source: R-Tuning as the start of Auto-CEI, arXiv:2410.07627 and its code (src/rl/rtuning.py)
-- needs: prompt_id, prompt, completion, verdict
-- optional: answer, difficulty
-- param refusal: text  -- the text of a refusal: put after the completion, unless it ends in it already
-- makes rows: prompt_id, prompt, completion, answer?, difficulty?
-- dropped: it could not be judged, or the same was made of another row
SELECT list(row_id ORDER BY position) AS parents, prompt_id, first(prompt ORDER BY position) AS prompt,
    CASE WHEN verdict = 'pass' OR ends_with(completion, $refusal) THEN completion ELSE completion || $refusal END AS completion,
    first(answer ORDER BY position) AS answer, first(difficulty ORDER BY position) AS difficulty
FROM rows WHERE verdict IN ('pass', 'fail') AND completion IS NOT NULL GROUP BY ALL

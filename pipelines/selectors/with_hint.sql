-- summary: The same prompts with a hint to put before them: fixed texts around the beginning of the reference answer.
-- source: rationale-driven guidance, arXiv:2411.00750; with share 0 only another form of the question (SECToR, arXiv:2309.08589)
-- needs: prompt_id, prompt
-- optional: answer, difficulty, task, entry
-- param before: text = ''  -- before the beginning of the answer
-- param share: number in 0..1 = 0.0  -- how much of the answer is given, rounded up to whole letters
-- param after: text = ''  -- after it
-- makes prompts: prompt_id, prompt, hint, answer?, difficulty?, task?, entry?
-- empty: no prompt came in
WITH once AS (
    SELECT list(row_id ORDER BY position) AS parents, prompt_id, first(prompt ORDER BY position) AS prompt,
        first(answer ORDER BY position) AS answer, first(difficulty ORDER BY position) AS difficulty,
        first(task ORDER BY position) AS task, first(entry ORDER BY position) AS entry
    FROM rows GROUP BY prompt_id
)
SELECT *, $before || left(coalesce(answer, ''), ceil($share * length(coalesce(answer, '')))::INTEGER) || $after AS hint FROM once

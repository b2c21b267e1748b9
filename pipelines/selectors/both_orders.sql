-- summary: Every prompt unchanged and with its parts in another order: right answers to the two agree.
-- source: SECToR, arXiv:2309.08589 (commutativity: a + b beside b + a)
-- needs: prompt_id, prompt
-- param pattern: text  -- RE2; the part of a prompt that is reordered
-- param reordered: text  -- the replacement: \1 is the first group
-- makes prompts: prompt_id, prompt, question, *
-- dropped: nothing; every prompt is asked as it is
WITH once AS (
    SELECT list(row_id ORDER BY position) AS parents, prompt_id, first(prompt ORDER BY position) AS prompt FROM rows GROUP BY prompt_id
), reordered AS (SELECT *, regexp_replace(prompt, $pattern, $reordered) AS other FROM once)
SELECT parents, prompt_id, prompt, prompt AS question FROM once
UNION ALL
SELECT parents, left(sha256('reordered/' || prompt), 20), other, prompt FROM reordered WHERE other <> prompt

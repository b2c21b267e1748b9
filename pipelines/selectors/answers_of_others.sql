-- summary: Each answer of one agent beside the other agents' answers to the same prompt: one turn of a debate.
-- source: multiagent debate, arXiv:2305.14325; as a way to make data, arXiv:2501.05707
-- needs: prompt_id, prompt, completion
-- optional: answer, difficulty, task, entry
-- input own: prompt_id, completion  -- the agent's own rows, which may be among `rows` too
-- param separator: text = ' '  -- text between the others' answers in the column `others`
-- makes rows: prompt_id, prompt, completion, others, answer?, difficulty?, task?, entry?
-- dropped: the agent has no answer to its prompt
WITH others AS (SELECT * FROM rows ANTI JOIN own USING (row_id))
SELECT list_prepend(o.row_id, list(r.row_id ORDER BY r.position)) AS parents, o.prompt_id, o.prompt, o.completion,
    string_agg(r.completion, $separator ORDER BY r.position) AS others, o.answer, o.difficulty, o.task, o.entry
FROM own o JOIN others r ON o.prompt_id = r.prompt_id
GROUP BY o.row_id, o.prompt_id, o.prompt, o.completion, o.answer, o.difficulty, o.task, o.entry

-- summary: The answer that slow answers agree on becomes the target of the plain prompt, without the slow steps.
-- source: SECToR, arXiv:2309.08589 (chain of thought as policy improvement); the votes are self-consistency over the slow answers
-- needs: prompt_id, prompt, verdict, voted
-- optional: answer, difficulty
-- makes rows: prompt_id, prompt, completion, answer?, difficulty?
-- dropped: not the answer that the slow ones agree on, or one more that says it
SELECT list(row_id ORDER BY position) AS parents, prompt_id, first(prompt ORDER BY position) AS prompt, voted AS completion,
    first(answer ORDER BY position) AS answer, first(difficulty ORDER BY position) AS difficulty
FROM rows WHERE verdict = 'pass' GROUP BY prompt_id, voted

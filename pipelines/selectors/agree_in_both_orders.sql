-- summary: The commonest answers to a prompt in both orders, where they are the same one.
-- source: SECToR, arXiv:2309.08589 (commutativity); the votes are over guesses after one, two, ... simplifications
-- needs: prompt_id, prompt, question, verdict, voted
-- optional: answer, difficulty
-- makes rows: prompt_id, prompt, completion, question, answer?, difficulty?
-- dropped: not the commonest answer, or the two orders have different ones
-- empty: no prompt has the same answer in both orders
WITH won AS (
    SELECT question, prompt_id, voted, list(row_id ORDER BY position) AS parents, first(prompt ORDER BY position) AS prompt,
        first(answer ORDER BY position) AS answer, first(difficulty ORDER BY position) AS difficulty
    FROM rows WHERE verdict = 'pass' GROUP BY question, prompt_id, voted
), agreed AS (SELECT question FROM won GROUP BY question HAVING count(DISTINCT prompt_id) = 2 AND count(DISTINCT voted) = 1)
SELECT parents, prompt_id, prompt, voted AS completion, question, answer, difficulty
FROM won WHERE question IN (SELECT question FROM agreed)

-- summary: Keep the rows that gave the answer which another set of rows voted for.
-- source: Multiagent finetuning, arXiv:2501.05707 (an agent's own first answers, by the vote after the debate)
-- needs: prompt_id, voted
-- input votes: prompt_id, voted, verdict  -- rows of majority_vote: the verdict is pass where the row gave the winning answer
-- param max_per_prompt: integer in 1.. = null  -- at most so many rows of one prompt, drawn by seed; null: all
-- empty: no row gave a winning answer
WITH winners AS (
    SELECT prompt_id, min(voted) AS winner FROM votes WHERE verdict = 'pass' GROUP BY prompt_id
), judged AS (
    SELECT r.*, winner, coalesce(r.voted = winner, false) AS agrees FROM rows r LEFT JOIN winners w ON r.prompt_id = w.prompt_id
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id, agrees ORDER BY uniform(row_id, $seed), position) AS place FROM judged
)
SELECT row_id, CASE WHEN agrees AND ($max_per_prompt IS NULL OR place <= $max_per_prompt) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN winner IS NULL THEN 'no answer won' WHEN NOT agrees THEN 'not the winning answer'
         WHEN place > $max_per_prompt THEN 'over max_per_prompt' ELSE 'the winning answer' END AS reason
FROM ranked

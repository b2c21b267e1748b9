-- summary: Preference pairs of every completion and every lower-scored one of the same prompt, or so many of them, drawn by seed.
-- source: CREST, arXiv:2411.06387 (its code pairs all j and k); V-STaR, arXiv:2402.06457, section 3.1 (right times wrong samples)
-- needs: prompt_id, prompt, completion, score
-- optional: answer, difficulty
-- param count: integer in 1.. = null  -- at most so many pairs of all prompts together; null: all
-- param pairs_per_prompt: integer in 1.. = null  -- at most so many pairs of one prompt; null: all
-- makes rows: prompt_id, prompt, chosen, rejected, answer?, difficulty?
-- dropped: none of its prompt has another score, or not drawn
-- empty: no prompt has two different scores
WITH pairs AS (
    SELECT b.*, w.row_id AS worse_id, w.completion AS worse, w.position AS worse_place,
        uniform(b.row_id || '/' || w.row_id, $seed) AS lot
    FROM rows b JOIN rows w ON b.prompt_id = w.prompt_id AND b.score > w.score AND b.completion <> w.completion
), of_prompts AS (
    SELECT * FROM pairs
    QUALIFY $pairs_per_prompt IS NULL OR row_number() OVER (PARTITION BY prompt_id ORDER BY lot, worse_place, position) <= $pairs_per_prompt
)
SELECT [row_id, worse_id] AS parents, prompt_id, prompt, completion AS chosen, worse AS rejected, answer, difficulty FROM of_prompts
QUALIFY $count IS NULL OR row_number() OVER (ORDER BY lot, worse_place, position) <= $count

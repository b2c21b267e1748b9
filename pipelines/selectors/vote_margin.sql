-- summary: Keep samples of the winning answer where the vote was clear, at most some for each prompt.
-- source: self-consistency as a filter, arXiv:2210.11610, section 3 (there the share of the votes is the confidence)
-- needs: prompt_id, verdict, vote_share, vote_margin
-- param min_share: number in 0..1 = 0.0  -- least share of the prompt's samples that gave the answer
-- param min_margin: number = 0.0  -- least lead over the second answer, as a share of the samples
-- param max_per_prompt: integer in 1.. = null  -- at most so many rows of one prompt, drawn by seed; null: all
WITH judged AS (
    SELECT *, CASE WHEN verdict <> 'pass' THEN 'not the winning answer' WHEN vote_share < $min_share THEN 'share too small'
        WHEN vote_margin < $min_margin THEN 'margin too small' END AS problem FROM rows
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id, problem ORDER BY uniform(row_id, $seed), position) AS place FROM judged
)
SELECT row_id,
    CASE WHEN problem IS NULL AND ($max_per_prompt IS NULL OR place <= $max_per_prompt) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN problem IS NOT NULL THEN problem WHEN place > $max_per_prompt THEN 'over max_per_prompt' ELSE 'clear vote' END AS reason
FROM ranked

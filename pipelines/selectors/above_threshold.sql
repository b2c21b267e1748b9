-- summary: Keep completions whose score reaches a threshold, each prompt's best first.
-- source: B-STaR, arXiv:2412.17256 (the threshold is a controller's); reward-ranked selection in general
-- needs: prompt_id, completion, score
-- param threshold: number  -- least score
-- param max_per_prompt: integer in 1.. = null  -- at most so many rows of one prompt; null: all
-- param enough: integer in 1.. = null  -- the cap on rows of one prompt is the lowest one with which so many are kept; null: max_per_prompt alone
-- param deduplicate: boolean = true  -- whether equal completions of one prompt count once
WITH numbered AS (
    SELECT row_id, position, prompt_id, score,
        row_number() OVER (PARTITION BY prompt_id, completion ORDER BY score DESC NULLS LAST, position) AS occurrence
    FROM rows
), judged AS (
    SELECT *, CASE WHEN score IS NULL THEN 'no score' WHEN score < $threshold THEN 'below the threshold'
        WHEN $deduplicate AND occurrence > 1 THEN 'same completion kept already' END AS problem FROM numbered
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id, problem ORDER BY score DESC, uniform(row_id, $seed), position) AS place
    FROM judged
), caps AS (
    SELECT place AS cap, sum(count(*)) OVER (ORDER BY place) AS kept FROM ranked WHERE problem IS NULL GROUP BY place
), lowest AS (
    SELECT min(cap) AS cap FROM caps WHERE kept >= $enough
)
SELECT row_id,
    CASE WHEN problem IS NULL AND coalesce(place <= $max_per_prompt, true) AND coalesce(place <= cap, true) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN problem IS NOT NULL THEN problem WHEN place > $max_per_prompt THEN 'over max_per_prompt'
         WHEN place > cap THEN 'enough without it' ELSE 'reaches the threshold' END AS reason
FROM ranked, lowest

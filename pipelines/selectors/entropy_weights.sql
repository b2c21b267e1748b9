-- summary: Keep right completions, weighted by how much the prompt's answers differ: answers that the model is unsure of count more.
-- source: EAST, arXiv:2503.23913: entropy H over clusters of equal answers, weight H^exponent scaled to a mean of 1
-- needs: prompt_id, completion, verdict
-- param exponent: number = 1.0  -- below 0 it favours answers that the model is sure of
-- param extract: text = null  -- RE2 expression whose first group is the answer; null: the whole completion. A prompt needs a wrong
--     completion in which it finds one, and right ones in which it doesn't are left out
-- param max_per_prompt: integer in 1.. = 1  -- at most so many rows of one prompt, drawn by seed
WITH answers AS (
    SELECT row_id, position, prompt_id, verdict,
        coalesce(regexp_matches(completion, $extract), completion IS NOT NULL) AS answered,
        CASE WHEN $extract IS NULL THEN completion ELSE coalesce(regexp_extract(completion, $extract, 1), '') END AS answer FROM rows
), clusters AS (
    SELECT prompt_id, answer, count(*) AS votes FROM answers GROUP BY prompt_id, answer
), shares AS (
    SELECT prompt_id, votes / sum(votes) OVER (PARTITION BY prompt_id) AS share FROM clusters
), prompts AS (
    SELECT prompt_id, sum(-share * log2(share)) AS entropy, count(*) AS answers FROM shares GROUP BY prompt_id
), ranked AS (
    SELECT a.*, p.entropy, p.answers, count(*) FILTER (verdict = 'fail' AND answered) OVER (PARTITION BY prompt_id) AS wrong_ones,
        row_number() OVER (PARTITION BY prompt_id, verdict, answered ORDER BY uniform(row_id, $seed), position) AS place
    FROM answers a JOIN prompts p USING (prompt_id)
), judged AS (
    SELECT *, CASE WHEN verdict IS DISTINCT FROM 'pass' THEN coalesce(verdict, 'no verdict') WHEN answers = 1 THEN 'all answers agree'
        WHEN NOT answered THEN 'no answer in it' WHEN wrong_ones = 0 THEN 'no wrong answer'
        WHEN place > $max_per_prompt THEN 'over max_per_prompt' END AS problem FROM ranked
)
SELECT row_id, CASE WHEN problem IS NULL THEN 'kept' ELSE 'dropped' END AS decision, coalesce(problem, 'unsure') AS reason,
    CASE WHEN problem IS NULL THEN entropy ^ $exponent / avg(entropy ^ $exponent) FILTER (problem IS NULL) OVER () ELSE 0 END AS weight
FROM judged

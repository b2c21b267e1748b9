-- summary: Keep every judged completion, labelled as desirable where it passes and as undesirable where it fails.
-- source: KTO, arXiv:2402.01306 (single completions and a binary signal instead of pairs)
-- needs: prompt_id, prompt, completion, verdict
-- param max_per_prompt: integer in 1.. = null  -- at most so many of each label for one prompt, drawn by seed; null: all
-- adds: label
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id, verdict ORDER BY uniform(row_id, $seed), position) AS place FROM rows
), judged AS (
    SELECT *, CASE WHEN verdict IN ('pass', 'fail') THEN CASE WHEN place > $max_per_prompt THEN 'over max_per_prompt' END
        ELSE coalesce(verdict, 'no verdict') END AS problem FROM ranked
)
SELECT row_id, CASE WHEN problem IS NULL THEN 'kept' ELSE 'dropped' END AS decision, coalesce(problem, verdict) AS reason,
    verdict = 'pass' AS label
FROM judged

-- summary: Every right completion, and the first right ones of a guided second pass until each prompt has enough.
-- source: Guided Self-Improvement, arXiv:2411.00750, and its code (inference_answer_driven.py)
-- needs: prompt_id, verdict
-- optional: hinted
-- param passes: integer in 1.. = 4  -- how many right completions of a prompt end its second pass
WITH rated AS (
    SELECT *, verdict = 'pass' AND hinted IS NOT TRUE AS own, verdict = 'pass' AND hinted IS TRUE AS guided FROM rows
), counted AS (
    SELECT *, count(*) FILTER (own) OVER (PARTITION BY prompt_id)
        + row_number() OVER (PARTITION BY prompt_id, guided ORDER BY position) AS reached FROM rated
)
SELECT row_id, CASE WHEN own OR (guided AND reached <= $passes) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN own THEN 'pass' WHEN guided AND reached <= $passes THEN 'guided' WHEN guided THEN 'enough are right'
         ELSE coalesce(verdict, 'no verdict') END AS reason
FROM counted

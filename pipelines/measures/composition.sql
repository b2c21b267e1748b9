-- summary: The compositionality gap: questions that are answered wrong although all of their parts are answered right.
-- source: arXiv:2210.03350, section 2
-- needs: prompt_id, verdict
-- input parts: verdict, whole  -- the answered parts; `whole` is the prompt_id of the question that a part belongs to
-- gives: gap, parts_right, whole_right
-- better: lower
-- warns gap: rises
-- A question with a part that could not be judged is left out.
WITH known AS (
    SELECT whole, bool_and(verdict = 'pass') AS all_right FROM parts GROUP BY whole HAVING bool_and(coalesce(verdict, '') IN ('pass', 'fail'))
)
SELECT r.prompt_id, CASE WHEN bool_and(all_right) THEN count(*) FILTER (verdict = 'fail') / count(*) END AS gap,
    bool_and(all_right) AS parts_right, count(*) FILTER (verdict = 'pass') / count(*) AS whole_right
FROM rows r JOIN known k ON k.whole = r.prompt_id WHERE verdict IN ('pass', 'fail') GROUP BY r.prompt_id

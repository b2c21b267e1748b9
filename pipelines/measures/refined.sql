-- summary: What refining did to answers: wrong ones mended, right ones spoilt, and feedback that changed nothing.
-- source: Confidence v.s. Critique; spoilt answers: arXiv:2310.01798; uptake: Feedback Friction
-- needs: prompt_id, completion, verdict, parents
-- optional: difficulty
-- input before: completion, verdict  -- the answers that were refined; they are the parents of `rows`
-- gives: net_gain, mended, kept, uptake
-- better: neither
-- warns net_gain: below 0
-- warns kept: falls
-- `mended`: of the wrong answers, those that became right (critique). `kept`: of the right ones, those that stayed right (confidence).
-- `uptake`: of the wrong ones, those that were changed at all.
WITH pairs AS (
    SELECT r.prompt_id, r.difficulty, b.verdict = 'pass' AS was, r.verdict = 'pass' AS became, r.completion <> b.completion AS changed
    FROM rows r JOIN before b ON list_contains(r.parents, b.row_id)
    WHERE r.verdict IN ('pass', 'fail') AND b.verdict IN ('pass', 'fail')
), counted AS (
    SELECT prompt_id, min(difficulty) AS difficulty, count(*) AS pairs, count(*) FILTER (was) AS rights, count(*) FILTER (became) AS rights_now,
        count(*) FILTER (NOT was AND became) AS mended, count(*) FILTER (was AND became) AS kept, count(*) FILTER (NOT was AND changed) AS changed
    FROM pairs GROUP BY prompt_id
)
SELECT prompt_id, difficulty, (rights_now - rights) / pairs AS net_gain, CASE WHEN pairs > rights THEN mended / (pairs - rights) END AS mended,
    CASE WHEN rights > 0 THEN kept / rights END AS kept, CASE WHEN pairs > rights THEN changed / (pairs - rights) END AS uptake
FROM counted

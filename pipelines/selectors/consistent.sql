-- summary: Keep right answers from which most follow-up questions were answered rightly; the score becomes their share.
-- source: CREST, arXiv:2411.06387 (rationale filtering with a tolerance)
-- needs: verdict
-- input questions: parents  -- the follow-up questions, made from `rows`
-- input answers: parents, verdict  -- judged answers to them
-- param tolerance: integer in 0.. = 0  -- so many follow-up questions of a row may be answered wrongly
-- adds: score
-- empty: no right answer is consistent
WITH told AS (
    SELECT q.parents[1] AS id, count(*) AS number, count(*) FILTER (a.verdict = 'pass') AS correct
    FROM questions q JOIN answers a ON a.parents[1] = q.row_id GROUP BY q.parents[1]
), judged AS (
    SELECT r.row_id, r.verdict, t.number, t.correct, CASE WHEN r.verdict <> 'pass' THEN r.verdict WHEN t.number IS NULL THEN 'nothing was asked'
        WHEN t.number - t.correct > $tolerance THEN 'inconsistent' END AS problem FROM rows r LEFT JOIN told t ON t.id = r.row_id
)
SELECT row_id, CASE WHEN problem IS NULL THEN 'kept' ELSE 'dropped' END AS decision, coalesce(problem, 'consistent') AS reason,
    CASE WHEN verdict = 'pass' THEN correct / number END AS score
FROM judged

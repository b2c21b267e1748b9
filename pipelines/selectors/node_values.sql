-- summary: The value of each node of a tree: the share of terminal nodes below it that the verifier passes.
-- source: process rewards inferred from a tree, ReST-MCTS*, arXiv:2406.03816, abstract
-- needs: parents, terminal, verdict
-- adds: reached
WITH RECURSIVE ends AS (
    SELECT row_id AS node, parents[1] AS above, verdict FROM rows WHERE terminal AND verdict IN ('pass', 'fail')
    UNION ALL
    SELECT r.row_id, r.parents[1], e.verdict FROM ends e JOIN rows r ON r.row_id = e.above
), counted AS (
    SELECT node, count(*) FILTER (verdict = 'pass') / count(*) AS reached FROM ends GROUP BY node
)
SELECT r.row_id, CASE WHEN c.node IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN c.node IS NULL THEN 'no end was found behind it' ELSE 'leads to an end' END AS reason, c.reached
FROM rows r LEFT JOIN counted c ON r.row_id = c.node

-- summary: Rows with their rank among the rows of their prompt, made of duels, as a score from 0 to 1.
-- source: Borda count over the transitive closure of a pairwise table, LLaMA-Berry, arXiv:2410.02884, section 2.3;
--         Bradley and Terry (1952) by Hunter's MM iterations (2004), with half a win and half a loss against an average row,
--         so that a row that always wins has a finite strength
-- needs: prompt_id
-- input duels: parents, score  -- judged rows of `duels`: 1 where the first of the two parents is better, 0 where the second is
-- param by: text in wins, borda, bradley_terry = 'wins'  -- 'wins': the share of duels won; 'borda': of the rows of its prompt, those that it beats, also through others;
--     'bradley_terry': the fitted chance to beat an average row, which counts whom it beat
-- adds: score
-- empty: no row was in a duel
WITH RECURSIVE judged AS (
    SELECT parents, CASE WHEN len(parents) <> 2 THEN error('duel ' || row_id || ' has ' || len(parents) || ' parents, expected the two rows that it compares')
        WHEN score NOT BETWEEN 0 AND 1 THEN error('duel ' || row_id || ' has the score ' || score || ', expected 0 to 1: scale it first') ELSE score END AS score
    FROM duels WHERE score IS NOT NULL
), told AS (
    SELECT parents[1] AS id, parents[2] AS other, score AS won FROM judged
    UNION ALL SELECT parents[2], parents[1], 1 - score FROM judged
), met AS (SELECT id, other, sum(won) AS won, count(*) AS times FROM told GROUP BY id, other),
beats(id, other) AS (
    SELECT id, other FROM met WHERE 2 * won > times
    UNION SELECT b.id, m.other FROM beats b JOIN met m ON m.id = b.other WHERE 2 * m.won > m.times AND m.other <> b.id
), wins AS (SELECT id, sum(won) AS won, sum(times) AS times FROM met GROUP BY id),
strengths(turn, id, strength) AS (
    SELECT 0, id, 1.0::DOUBLE FROM wins
    UNION ALL
    SELECT min(a.turn) + 1, a.id, (min(w.won) + 0.5) / (sum(m.times / (a.strength + b.strength)) + 1 / (min(a.strength) + 1))
    FROM strengths a JOIN wins w ON w.id = a.id JOIN met m ON m.id = a.id JOIN strengths b ON b.id = m.other AND b.turn = a.turn
    WHERE $by = 'bradley_terry' AND a.turn < 200 GROUP BY a.id
), sizes AS (SELECT prompt_id, count(*) AS others FROM rows GROUP BY prompt_id),
below AS (SELECT id, count(DISTINCT other) AS beaten FROM beats GROUP BY id),
rated AS (
    SELECT r.row_id, CASE $by WHEN 'wins' THEN w.won / w.times WHEN 'borda' THEN coalesce(l.beaten, 0) / nullif(s.others - 1, 0)
        WHEN 'bradley_terry' THEN t.strength / (1 + t.strength) END AS score
    FROM rows r JOIN wins w ON w.id = r.row_id JOIN sizes s USING (prompt_id) LEFT JOIN below l ON l.id = r.row_id
    JOIN strengths t ON t.id = r.row_id AND t.turn = (SELECT max(turn) FROM strengths)
)
SELECT r.row_id, CASE WHEN f.score IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN f.score IS NULL THEN 'in no duel' ELSE 'ranked' END AS reason, f.score
FROM rows r LEFT JOIN rated f USING (row_id)

-- summary: Clues by the votes that they drew, for a sum of zero: the spy wins what the others lose; each weighted by how far it is above the mean of its role.
-- source: Vision-Zero, arXiv:2509.25541 (clue stage: zero-sum reward, and role advantage; here the mean of the round in the place of a moving one)
-- needs: player_number, spy
-- input decisions: parents  -- what `decisions_of_games` made of `rows`
-- input votes: prompt_id, completion  -- answers to them, several to each
-- param blame: number = 1.0  -- how much a citizen loses for votes that it draws and the other citizens don't
-- param losses: boolean = true  -- whether clues below the mean of their role are kept, with negative weights
-- adds: score
-- empty: no clue has another score than its role's mean
WITH ballots AS (SELECT prompt_id, trim(completion) AS named FROM votes WHERE completion IS NOT NULL
), counted AS (SELECT prompt_id, count(*) AS total FROM ballots GROUP BY prompt_id
), played AS (SELECT row_id AS game, unnest(parents) AS clue FROM decisions
), drawn AS (
    SELECT p.game, p.clue, r.player_number = r.spy AS is_spy, c.total, count(b.named) AS votes
    FROM played p JOIN rows r ON r.row_id = p.clue JOIN counted c ON c.prompt_id = p.game
        LEFT JOIN ballots b ON b.prompt_id = p.game AND b.named = r.player_number
    GROUP BY p.game, p.clue, r.player_number, r.spy, c.total
), sides AS (
    SELECT game, max(votes) FILTER (is_spy) AS on_spy, sum(votes) FILTER (NOT is_spy) / count(*) FILTER (NOT is_spy) AS on_others,
        count(*) FILTER (NOT is_spy) AS citizens
    FROM drawn GROUP BY game
), scored AS (
    SELECT clue, is_spy, CASE WHEN is_spy THEN on_others - on_spy
        ELSE (on_spy - on_others) / citizens - $blame * (votes - on_others) END / total AS score
    FROM drawn JOIN sides USING (game)
), roles AS (SELECT is_spy, avg(score) AS mean FROM scored GROUP BY is_spy
), told AS (
    SELECT r.row_id, s.score, round(s.score - roles.mean, 6) AS advantage
    FROM rows r LEFT JOIN scored s ON s.clue = r.row_id LEFT JOIN roles ON roles.is_spy = s.is_spy
)
SELECT row_id, CASE WHEN advantage > 0 OR ($losses AND advantage < 0) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN advantage IS NULL THEN 'nobody voted in its game' WHEN advantage = 0 THEN 'as good as its role'
         WHEN advantage > 0 THEN 'better than its role' ELSE 'worse than its role' END AS reason, score, advantage AS weight
FROM told

-- summary: Turns of games of two, weighted by how far their side's return is above the mean return of its role in that game.
-- source: SPIRAL, arXiv:2506.24119 (role-conditioned advantage; here the mean of these episodes in the place of a moving one)
-- needs: episode_id, task, entry, player
-- input episodes: sample_id, task, entry, player, score  -- both sides' episodes
-- param losses: boolean = true  -- whether turns of sides worse than their role are kept, with negative weights
-- adds: score
-- empty: in no game and role have two episodes different returns
WITH each AS (
    SELECT row_id, player, score, task || '/' || coalesce(json_extract_string(entry, '$.game'), '') AS game FROM episodes
), roles AS (
    SELECT game, player, avg(score) AS mean FROM each WHERE score IS NOT NULL GROUP BY game, player
), told AS (
    SELECT r.row_id, e.score - roles.mean AS advantage
    FROM rows r LEFT JOIN each e ON e.row_id = r.episode_id LEFT JOIN roles ON roles.game = e.game AND roles.player = e.player
)
SELECT row_id, CASE WHEN advantage > 0 OR ($losses AND advantage < 0) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN advantage IS NULL THEN 'of no episode with a score' WHEN advantage = 0 THEN 'as good as its role'
         WHEN advantage > 0 THEN 'better than its role' ELSE 'worse than its role' END AS reason,
    advantage AS score, advantage AS weight
FROM told

-- summary: The tasks, and turns to take episodes up behind: one of each group whose returns differ, where they differ most.
-- source: ExIt, arXiv:2509.04575 (partial histories are drawn by the variance of their group's returns), over environments
-- needs: episode_id, prompt_id, prompt, done, past
-- optional: messages
-- input episodes: sample_id, parents, score  -- the turns' episodes
-- input tasks: prompt_id, prompt             -- kept as they are
-- param count: integer in 1..                       -- how many turns
-- makes rows: prompt_id, prompt, past, *
-- dropped: of a group whose returns differ less, the last turn of its episode, or another one of its group was drawn
WITH groups AS (
    SELECT row_id AS episode, parents[1] AS origin, var_pop(score) OVER (PARTITION BY parents[1]) AS spread
    FROM episodes WHERE score IS NOT NULL
), inside AS (
    SELECT r.row_id, r.prompt_id, r.prompt, r.past, r.position, g.spread
    FROM rows r JOIN groups g ON g.episode = r.episode_id WHERE g.spread > 0 AND NOT r.done
    QUALIFY row_number() OVER (PARTITION BY g.origin ORDER BY uniform(r.row_id, $seed), r.position) = 1
)
SELECT [row_id] AS parents, prompt_id, prompt, NULL::VARCHAR AS past FROM tasks
UNION ALL
(SELECT [row_id], prompt_id, prompt, past FROM inside
 QUALIFY row_number() OVER (ORDER BY spread DESC, uniform(row_id, $seed), position) <= $count)

-- summary: Keep the turns of chosen episodes; each weighs 1 / turns of its episode, so that a long one doesn't count more.
-- needs: episode_id
-- optional: weight, invalid
-- input episodes: sample_id, prompt_id  -- the chosen episodes
-- param readable: boolean = true  -- whether turns whose action could not be read are left out
-- empty: no turn is of a chosen episode
SELECT r.row_id,
    CASE WHEN e.row_id IS NOT NULL AND NOT ($readable AND r.invalid IS NOT NULL) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN e.row_id IS NULL THEN 'of another episode'
         WHEN $readable AND r.invalid IS NOT NULL THEN 'no action that could be read'
         ELSE 'of a chosen episode' END AS reason,
    coalesce(r.weight, 1) AS weight
FROM rows r LEFT JOIN episodes e ON e.row_id = r.episode_id

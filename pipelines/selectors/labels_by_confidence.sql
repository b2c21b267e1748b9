-- summary: Completions with a label by their score; good ones of earlier rounds only where the policy is neither sure of them nor finds them unlikely.
-- source: WebRL, arXiv:2411.02337 (a replay buffer filtered by the actor's confidence); labels as KTO needs them
-- needs: prompt_id, prompt, completion, score, liked_score, round
-- param threshold: number = 0.5        -- from this score on a completion is desirable
-- param low: number in 0..1 = 0.5              -- least probability of a desirable one of an earlier round, by `liked_score`, its logarithm
-- param high: number in 0..1 = 0.95            -- greatest
-- param max_per_prompt: integer in 1.. = null  -- at most so many of each label for one prompt, drawn by seed; null: all
-- adds: label
WITH told AS (
    SELECT *, score >= $threshold AS good, CASE WHEN round < max(round) OVER () THEN exp(liked_score) END AS probability FROM rows
), judged AS (
    SELECT *, CASE WHEN good IS NULL THEN 'no score' WHEN good AND probability < $low THEN 'unlikely'
        WHEN good AND probability > $high THEN 'sure already' END AS problem FROM told
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id, good, problem ORDER BY uniform(row_id, $seed), position) AS place FROM judged
)
SELECT row_id, CASE WHEN problem IS NULL AND coalesce(place <= $max_per_prompt, true) THEN 'kept' ELSE 'dropped' END AS decision,
    coalesce(problem, CASE WHEN place > $max_per_prompt THEN 'over max_per_prompt' WHEN good THEN 'desirable' ELSE 'undesirable' END) AS reason,
    good AS label
FROM ranked

-- summary: Drop completions that are much shorter than the longest one of the same difficulty, or outside fixed bounds.
-- source: length filtering of arXiv:2502.01612 (wrong answers of the majority are mostly too short)
-- needs: completion
-- optional: difficulty
-- param min_share: number in 0..1 = 0.0  -- least length, as a share of the longest completion of the same difficulty
-- param max_shortfall: integer in 0.. = null  -- at most so many characters under that longest one; null: any number
-- param min_characters: integer in 0.. = 1  -- least length
-- param max_characters: integer in 1.. = null  -- greatest length; null: none
WITH measured AS (
    SELECT row_id, length(completion) AS characters, max(length(completion)) OVER (PARTITION BY difficulty) AS longest FROM rows
), judged AS (
    SELECT row_id, CASE WHEN characters IS NULL THEN 'no completion'
        WHEN characters < $min_share * longest OR longest - characters > $max_shortfall OR characters < $min_characters THEN 'too short'
        WHEN characters > $max_characters THEN 'too long' END AS problem
    FROM measured
)
SELECT row_id, CASE WHEN problem IS NULL THEN 'kept' ELSE 'dropped' END AS decision, coalesce(problem, 'length') AS reason
FROM judged

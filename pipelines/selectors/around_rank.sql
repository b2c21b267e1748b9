-- summary: Draws rows around a place in the order by score, the highest first, the fewer the farther from it.
-- source: GAIN-RL, arXiv:2506.02281 (Gaussian sampling of data in the order of their angle concentration)
-- needs: score
-- param center: number  -- the place, from 0 on, that is drawn most often; often a controller's value
-- param width: number in 0..  -- standard deviation, in places
-- param count: integer in 1..  -- how many rows, without replacement
WITH ranked AS (
    SELECT row_id, position, score, row_number() OVER (ORDER BY score DESC NULLS LAST, position) - 1 AS place FROM rows
), raced AS (
    SELECT row_id, score, row_number() OVER (
        ORDER BY score IS NULL, ln(-ln(1 - uniform(row_id, $seed))) + 0.5 * pow((place - $center) / $width, 2), position
    ) AS finish FROM ranked
)
SELECT row_id, CASE WHEN score IS NOT NULL AND finish <= $count THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN score IS NULL THEN 'no score' WHEN finish <= $count THEN 'drawn' ELSE 'not drawn' END AS reason
FROM raced

-- summary: Consecutive parts of the rows, in an order drawn by seed: fresh prompts for each round.
-- param count: integer in 1..  -- rows of a part
-- param part: integer in 1..   -- which one, from 1 on: `per_round: {part: 1, step: 1}`; after the last part nothing is left, which is an error
WITH placed AS (SELECT row_id, row_number() OVER (ORDER BY uniform(row_id, $seed), position) - 1 AS place FROM rows)
SELECT row_id, CASE WHEN place // $count = $part - 1 THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN place // $count = $part - 1 THEN 'this part' WHEN place // $count < $part - 1 THEN 'an earlier part' ELSE 'a later part' END AS reason
FROM placed

-- summary: So many rows, drawn by seed, each at most once.
-- param count: integer in 1..     -- rows to draw; all where there are fewer
-- param draw: integer = 1  -- another number draws other rows: `per_round: {draw: 1, step: 1}`
WITH ranked AS (SELECT row_id, row_number() OVER (ORDER BY uniform(row_id || '/' || $draw, $seed), position) AS place FROM rows)
SELECT row_id, CASE WHEN place <= $count THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN place <= $count THEN 'drawn' ELSE 'not drawn' END AS reason
FROM ranked

-- summary: The answers that their question helps least to predict: what an instruction has yet to teach (instruction-following difficulty).
-- source: Self-Evolution, arXiv:2408.12247 (IFD: the loss of the answer after its question over that of the answer alone)
-- needs: score
-- input alone: parents, score  -- the same answers scored without their question, made from `rows`; scores are log-probabilities per token
-- param share: number in 0..1 = 0.5  -- the kept share of the rows, the greatest IFD first
-- param below: number = 1.0  -- from this IFD on the question misleads, and the row is dropped
-- adds: ifd
WITH known AS (SELECT parents[1] AS id, first(score ORDER BY position) AS score FROM alone GROUP BY parents[1]),
measured AS (SELECT r.row_id, r.position, r.score / nullif(k.score, 0) AS ifd FROM rows r LEFT JOIN known k ON k.id = r.row_id),
ranked AS (
    SELECT *, coalesce(ifd < $below, false) AS fine,
        row_number() OVER (PARTITION BY coalesce(ifd < $below, false) ORDER BY ifd DESC, position) AS place, count(*) OVER () AS count
    FROM measured
)
SELECT row_id, CASE WHEN fine AND place <= ceil($share * count) THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN ifd IS NULL THEN 'not scored' WHEN NOT fine THEN 'its question misleads' WHEN place > ceil($share * count) THEN 'easier than others'
         ELSE 'hard to follow' END AS reason, ifd
FROM ranked

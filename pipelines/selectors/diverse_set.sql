-- summary: Keep of each prompt's right, and of its wrong, completions some that are as different from each other as possible.
-- source: DIVE, arXiv:2501.00747 (data selection); here first without outliers, then greedy: next comes the one farthest from all picked, in edit distance
-- needs: prompt_id, completion, verdict
-- param outliers: number in 0..1 = 0.0  -- share of the different ones, rounded down, that lie farthest from all others and are left out first
-- param per_verdict: integer in 1.. = 2  -- at most so many right and so many wrong completions of one prompt
WITH RECURSIVE candidates AS (
    SELECT row_id, position, prompt_id, verdict, completion,
        row_number() OVER (PARTITION BY prompt_id, verdict, completion ORDER BY position) AS occurrence FROM rows
), distinct_ones AS (
    SELECT * FROM candidates WHERE occurrence = 1 AND verdict IN ('pass', 'fail') AND completion IS NOT NULL
), apart AS (
    SELECT d.row_id, sum(levenshtein(d.completion, o.completion)) AS distance FROM distinct_ones d
    JOIN distinct_ones o ON d.prompt_id = o.prompt_id AND d.verdict = o.verdict WHERE $outliers > 0 GROUP BY d.row_id
), inner_ones AS (
    SELECT d.* FROM distinct_ones d LEFT JOIN apart a ON d.row_id = a.row_id
    QUALIFY row_number() OVER (PARTITION BY d.prompt_id, d.verdict ORDER BY a.distance DESC, uniform(d.row_id, $seed), d.position)
        > floor($outliers * count(*) OVER (PARTITION BY d.prompt_id, d.verdict))
), picked AS (
    SELECT prompt_id, verdict, row_id, completion, [completion] AS chosen, 1 AS turn FROM inner_ones
    QUALIFY row_number() OVER (PARTITION BY prompt_id, verdict ORDER BY uniform(row_id, $seed), position) = 1
    UNION ALL
    SELECT d.prompt_id, d.verdict, d.row_id, d.completion, list_append(p.chosen, d.completion), p.turn + 1
    FROM picked p JOIN inner_ones d ON p.prompt_id = d.prompt_id AND p.verdict = d.verdict AND NOT list_contains(p.chosen, d.completion)
    WHERE p.turn < $per_verdict
    QUALIFY row_number() OVER (PARTITION BY d.prompt_id, d.verdict
        ORDER BY list_min([levenshtein(one, d.completion) FOR one IN p.chosen]) DESC, uniform(d.row_id, $seed), d.position) = 1
)
SELECT c.row_id, CASE WHEN p.row_id IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN p.row_id IS NOT NULL THEN c.verdict WHEN c.completion IS NULL THEN 'no completion'
         WHEN coalesce(c.verdict, 'error') NOT IN ('pass', 'fail') THEN coalesce(c.verdict, 'no verdict')
         WHEN c.occurrence > 1 THEN 'same completion kept already' WHEN i.row_id IS NULL THEN 'far from all others'
         ELSE 'near to what is kept' END AS reason
FROM candidates c LEFT JOIN picked p ON c.row_id = p.row_id LEFT JOIN inner_ones i ON c.row_id = i.row_id

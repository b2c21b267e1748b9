-- summary: Steps that continue the same beginning, a better one against a worse one by value.
-- source: step-level preferences of a search, arXiv:2405.00451, section 3.1
-- needs: parents, prompt_id, prompt, prefix, completion, value
-- param min_gap: number in 0.. = 0.1  -- the least by which the chosen step's value is above the rejected one's
-- param per_node: integer in 1.. = 1  -- so many pairs of the steps of one beginning, those with the widest gaps first
-- makes rows: prompt_id, prompt, chosen, rejected, gap, *
-- dropped: in no pair
-- empty: no two steps of a beginning differ in value by min_gap
WITH paired AS (
    SELECT a.parents[1] AS node, a.row_id AS better, b.row_id AS worse, a.prompt_id, a.prompt || a.prefix AS prompt,
        a.completion AS chosen, b.completion AS rejected, a.value - b.value AS gap, a.position, b.position AS other
    FROM rows a JOIN rows b ON a.parents[1] = b.parents[1] AND a.prefix = b.prefix
    WHERE a.value - b.value >= $min_gap AND a.completion <> b.completion
)
SELECT [better, worse] AS parents, prompt_id, prompt, chosen, rejected, gap FROM paired
QUALIFY row_number() OVER (PARTITION BY node ORDER BY gap DESC, other, position) <= $per_node

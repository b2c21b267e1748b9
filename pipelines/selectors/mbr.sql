-- summary: Rows scored by how much their completion agrees with the other completions of the prompt (minimum Bayes risk).
-- source: MBR self-training, arXiv:2410.02902; here agreement is Dice's share of common parts, for a judge's see score_of_children
-- needs: prompt_id, completion
-- param separator: text = ' '  -- text between two parts of a completion; '': every letter is a part
-- adds: score
-- empty: no prompt has two completions
WITH split AS (
    SELECT row_id, position, prompt_id, list_distinct(string_split(completion, $separator)) AS parts FROM rows WHERE completion IS NOT NULL
), pairs AS (
    SELECT a.row_id, 2 * len(list_intersect(a.parts, b.parts)) / (len(a.parts) + len(b.parts)) AS agreement
    FROM split a JOIN split b ON a.prompt_id = b.prompt_id AND a.position <> b.position
), expected AS (SELECT row_id, avg(agreement) AS utility FROM pairs GROUP BY row_id)
SELECT r.row_id, CASE WHEN utility IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN completion IS NULL THEN 'no completion' WHEN utility IS NULL THEN 'no other completion of its prompt' ELSE 'scored' END AS reason,
    utility AS score
FROM rows r LEFT JOIN expected e ON e.row_id = r.row_id

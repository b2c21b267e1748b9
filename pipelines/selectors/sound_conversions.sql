-- summary: Keep conversions of documents that no rule refutes: their words are those of another reader, a table's rows have equally many cells, formulas are formulas.
-- source: POINTS-Reader, arXiv:2509.01215 (F1 of the words against a traditional reader, structure of tables, syntax of formulas)
-- needs: prompt_id, completion, ocr
-- optional: finish_reason
-- param threshold: number in 0..1  -- least F1 of the words of `completion` and `ocr`, in any order; signs are no words
-- adds: words_f1
WITH bags AS (
    SELECT *, regexp_extract_all(lower(coalesce(completion, '')), '[\p{L}\p{N}]+') AS mine, regexp_extract_all(lower(coalesce(ocr, '')), '[\p{L}\p{N}]+') AS other
    FROM rows
), scored AS (
    SELECT row_id, completion, finish_reason, 2.0 * coalesce(list_sum(list_transform(list_distinct(mine), lambda word:
        least(len(list_filter(mine, lambda one: one = word)), len(list_filter(other, lambda one: one = word))))), 0)
        / greatest(len(mine) + len(other), 1) AS words_f1
    FROM bags
), lines AS (
    SELECT row_id, unnest(string_split(completion, chr(10))) AS line, generate_subscripts(string_split(completion, chr(10)), 1) AS place FROM rows
), barred AS (
    SELECT row_id, starts_with(line, '|') AS ruled, regexp_full_match(line, '\|([^|]+\|)+') AS closed, len(string_split(line, '|')) AS cells,
        lag(CASE WHEN starts_with(line, '|') THEN cells END) OVER (PARTITION BY row_id ORDER BY place, row_id) AS above
    FROM lines
), tables AS (
    SELECT row_id, bool_or(ruled AND (NOT closed OR cells <> above)) AS broken FROM barred GROUP BY row_id
), parts AS (
    SELECT row_id, unnest(string_split(completion, '$')) AS part, generate_subscripts(string_split(completion, '$'), 1) AS place,
        len(string_split(completion, '$')) % 2 = 0 AS is_open
    FROM rows
), formulas AS (
    SELECT row_id, bool_or(is_open OR place % 2 = 0 AND (length(replace(part, '{', '')) <> length(replace(part, '}', ''))
        OR NOT regexp_full_match(part, '\s*-?[^-+=*/<>\s|#]+(\s*[-+=*/<>]\s*[^-+=*/<>\s|#]+)*\s*'))) AS broken
    FROM parts GROUP BY row_id
), judged AS (
    SELECT scored.row_id, words_f1, CASE WHEN completion IS NULL THEN 'no completion' WHEN finish_reason = 'length' THEN 'cut off'
        WHEN words_f1 < $threshold THEN 'other words than another reader' WHEN tables.broken THEN 'a table with a broken row'
        WHEN formulas.broken THEN 'a formula that is none' END AS problem
    FROM scored LEFT JOIN tables USING (row_id) LEFT JOIN formulas USING (row_id)
)
SELECT row_id, CASE WHEN problem IS NULL THEN 'kept' ELSE 'dropped' END AS decision, coalesce(problem, 'no rule refutes it') AS reason, words_f1 FROM judged

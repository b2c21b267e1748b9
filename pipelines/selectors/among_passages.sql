-- summary: Rows with their own passage among passages of other rows, in {passages}, and its place among them, in {place}.
-- source: START, arXiv:2410.13298 (what supports an answer is among what does not)
-- needs: prompt_id, passage
-- param distractors: integer in 0.. = 1  -- passages of other rows
-- param separator: text = '|'  -- text between two passages
-- adds: passages, place
-- empty: no row has a passage
WITH drawn AS (
    SELECT r.row_id, o.passage AS text, false AS own, o.position FROM rows r JOIN rows o ON o.passage <> r.passage
    QUALIFY row_number() OVER (PARTITION BY r.row_id ORDER BY uniform(r.row_id || '/' || o.row_id, $seed), o.position) <= $distractors
), together AS (
    SELECT row_id, position, text, own, row_number() OVER (PARTITION BY row_id ORDER BY uniform(row_id || '/' || text, $seed), position) AS place
    FROM (SELECT * FROM drawn UNION ALL SELECT row_id, passage, true, position FROM rows WHERE passage IS NOT NULL)
), told AS (
    SELECT row_id, string_agg(text, $separator ORDER BY place, position) AS passages, max(place) FILTER (own) AS place FROM together GROUP BY row_id
)
SELECT r.row_id, CASE WHEN r.passage IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN r.passage IS NULL THEN 'no passage' ELSE 'among others' END AS reason, passages, place
FROM rows r LEFT JOIN told t ON t.row_id = r.row_id

-- summary: Follow-up questions on answers of letter_sort, each for the letter after a drawn one.
-- source: the laptop profile's counterpart of CREST's questions, arXiv:2411.06387
-- needs: prompt_id, prompt, completion, answer
-- param count: integer in 1.. = 3  -- questions about each answer, drawn by seed
-- makes rows: prompt_id, prompt, completion, letter, answer
-- dropped: no answer is known
WITH places AS (
    SELECT * FROM rows, range(26) AS n(place) WHERE n.place < length(answer)
), drawn AS (
    SELECT * FROM places
    QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY uniform(concat(row_id, place), $seed), place, position) <= $count
)
SELECT [row_id] AS parents, prompt_id, prompt, completion, substr(answer, place + 1, 1) AS letter,
    coalesce(nullif(substr(answer, place + 2, 1), ''), '.') AS answer
FROM drawn

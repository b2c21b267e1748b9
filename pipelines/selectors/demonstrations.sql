-- summary: Prompts joined as examples for posing another one; drawn by seed.
-- source: Self-Instruct, arXiv:2212.10560, section 2.2 (of eight shots, two are the model's own once there are some)
-- needs: prompt_id, prompt
-- optional: parents
-- param count: integer in 1..  -- how many sets
-- param shots: integer in 1.. = 8  -- prompts in each
-- param posed: integer in 0.. = 0  -- so many of them are posed ones, which have parents; fewer where there are fewer
-- param separator: text = ' | '  -- text between them
-- makes rows: prompt_id, prompt
-- dropped: not drawn
WITH pools AS (
    SELECT *, $posed > 0 AND parents IS NOT NULL AS is_posed, count(*) FILTER ($posed > 0 AND parents IS NOT NULL) OVER () AS there FROM rows
), drawn AS (
    SELECT r.row_id, r.prompt, r.position, s.number FROM pools r, range($count) AS s(number)
    QUALIFY row_number() OVER (PARTITION BY s.number, is_posed ORDER BY uniform(concat(s.number, '/', r.row_id), $seed), r.position)
        <= CASE WHEN is_posed THEN $posed ELSE $shots - least($posed, there) END
)
SELECT list(row_id ORDER BY position) AS parents, 'set ' || number AS prompt_id,
    string_agg(prompt, $separator ORDER BY position) AS prompt
FROM drawn GROUP BY number

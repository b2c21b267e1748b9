-- summary: Each part of a completion as a prompt of its own, such as the sub-questions that it asks.
-- source: Iterated Amplification, arXiv:1810.08575 (a question is decomposed, the learner answers the parts)
-- needs: completion
-- optional: finish_reason
-- param mark: text  -- text between two parts
-- makes prompts: prompt_id, prompt, part
-- dropped: no part in it
-- empty: nothing was taken apart
WITH split AS (
    SELECT *, string_split(completion, $mark) AS texts FROM rows
    WHERE completion IS NOT NULL AND coalesce(finish_reason <> 'length', true)
), parts AS (SELECT row_id, unnest(texts) AS text, generate_subscripts(texts, 1) AS number FROM split)
SELECT [row_id] AS parents, left(sha256(row_id || '/' || number || '/' || text), 20) AS prompt_id, text AS prompt, number AS part
FROM parts WHERE text <> ''

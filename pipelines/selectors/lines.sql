-- summary: Each part of a completion as a text of its own, learned without the prompt that it was written for.
-- source: lines of a self-edit as training documents, SEAL, arXiv:2506.10943, section 4.1; code: knowledge-incorporation, --split_newlines
-- needs: prompt_id, prompt, completion
-- optional: finish_reason
-- param separator: text = null  -- what stands between two parts; null: a line break
-- param with_prompt: boolean = false  -- whether the prompt is a part, too: the passage that an edit is about
-- makes rows: prompt_id, prompt, completion, part, *
-- dropped: no part in it
-- empty: nothing was written
WITH given AS (
    SELECT *, list_filter(
        list_concat(CASE WHEN $with_prompt THEN [prompt] ELSE [] END, string_split(completion, coalesce($separator, chr(10)))),
        lambda text: trim(text) <> ''
    ) AS texts
    FROM rows WHERE completion IS NOT NULL AND finish_reason IS DISTINCT FROM 'length'
), parts AS (SELECT *, unnest(texts) AS text, generate_subscripts(texts, 1) AS number FROM given)
SELECT [row_id] AS parents, prompt_id, '' AS prompt, text AS completion, number AS part FROM parts

-- summary: The completions of each prompt as one numbered list beside the prompt, in {candidates}, for a model that chooses one or merges them.
-- source: Universal Self-Consistency, arXiv:2311.17311, section 3
-- needs: prompt_id, prompt, completion
-- param title: text = 'Response '  -- text before each number
-- makes prompts: prompt_id, prompt, candidates, *
-- dropped: it has no completion
WITH placed AS (
    SELECT *, row_number() OVER (PARTITION BY prompt_id ORDER BY position) AS number FROM rows WHERE completion IS NOT NULL
)
SELECT list(row_id ORDER BY position) AS parents, prompt_id, first(prompt ORDER BY position) AS prompt,
    string_agg($title || number || ': ' || completion, chr(10) ORDER BY position) AS candidates
FROM placed GROUP BY prompt_id

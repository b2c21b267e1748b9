-- summary: The same completions under one fixed prompt, such as one without the question.
-- source: Self-Evolution, arXiv:2408.12247 (how likely an answer is alone)
-- needs: prompt_id, completion
-- param prompt: text  -- the text before each completion
-- makes rows: prompt_id, prompt, completion, sample_index
-- dropped: no completion
SELECT [row_id] AS parents, left(sha256('one prompt/' || $prompt), 20) AS prompt_id, $prompt AS prompt, completion, position AS sample_index
FROM rows WHERE completion IS NOT NULL

-- summary: The questions that a passage of letter_facts answers, each to be asked without it.
-- source: the laptop profile's counterpart of the questions of a SQuAD passage, SEAL, arXiv:2506.10943, section 4.1
-- needs: prompt, topic
-- makes prompts: prompt_id, prompt, answer, topic
WITH facts AS (
    SELECT row_id, topic, unnest(string_split(prompt[2:-2], ',')) AS fact FROM rows
)
SELECT [row_id] AS parents, left(sha256(row_id || '/' || fact), 20) AS prompt_id, fact[1] || '?' AS prompt,
    fact[2] AS answer, topic
FROM facts

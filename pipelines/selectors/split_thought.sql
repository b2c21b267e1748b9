-- summary: The response in a completion that also holds a thought: a judge sees {response} alone, a trainer the whole completion.
-- source: Thinking LLMs (TPO), arXiv:2410.10630
-- needs: completion
-- param pattern: text = '<R>\s*(.*)$'  -- RE2 over all lines; its first group is the response
-- adds: response
WITH found AS (SELECT row_id, completion, nullif(regexp_extract(completion, $pattern, 1, 's'), '') AS response FROM rows)
SELECT row_id, CASE WHEN response IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN completion IS NULL THEN 'no completion' WHEN response IS NULL THEN 'no response' ELSE 'has a response' END AS reason, response
FROM found

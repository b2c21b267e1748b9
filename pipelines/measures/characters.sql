-- summary: How long completions are, in characters.
-- gives: characters
-- better: neither
-- needs: prompt_id, completion
SELECT prompt_id, avg(length(completion)) AS characters FROM rows WHERE completion IS NOT NULL GROUP BY prompt_id

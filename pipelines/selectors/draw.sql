-- summary: Draws completions of each prompt with replacement, with chances that grow with their score.
-- source: the draw is the Gumbel-max trick, one race for each drawn row
-- needs: prompt_id, prompt, completion, score
-- param count: integer in 1..  -- draws for each prompt
-- param temperature: number = 1.0  -- the chance is proportional to exp(score / temperature); a missing score counts as 0
-- makes rows: prompt_id, prompt, completion, score, sample_index, *
-- dropped: not drawn
SELECT [row_id] AS parents, prompt_id, prompt, completion, score, number AS sample_index
FROM rows, unnest(range($count)) AS draws(number)
QUALIFY row_number() OVER (
    PARTITION BY prompt_id, number
    ORDER BY ln(-ln(1 - uniform(row_id || '/' || number, $seed))) - coalesce(score, 0) / $temperature, position
) = 1

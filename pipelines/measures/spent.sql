-- summary: What a policy draws for a prompt, over all its nodes: tokens, and how many completions.
-- needs: prompt_id
-- input drawn: tokens  -- the rows of everything that is drawn for these prompts
-- gives: tokens, draws
-- better: neither
WITH asked AS (SELECT count(DISTINCT prompt_id) AS prompts FROM rows), counted AS (SELECT sum(tokens) AS tokens, count(*) AS draws FROM drawn)
SELECT coalesce(tokens, 0) / nullif(prompts, 0) AS tokens, draws / nullif(prompts, 0) AS draws FROM asked, counted

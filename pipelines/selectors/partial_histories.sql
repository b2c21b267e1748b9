-- summary: Answers of the groups whose scores differ most, one of each group, as prompts for a better answer.
-- source: ExIt, arXiv:2509.04575 (partial histories are drawn by the variance of their group's returns)
-- needs: prompt_id, question, completion, score
-- optional: answer, difficulty
-- param count: integer in 1..             -- how many prompts
-- param before: text = ''          -- before the question,
-- param between: text = ''         -- between it and the answer,
-- param after: text = ''           -- and after the answer
-- makes prompts: prompt_id, prompt, question, answer?, difficulty?
-- dropped: of a group that teaches less, another one of its group, or the same history was drawn
-- empty: no group has two different scores
WITH told AS (
    SELECT *, var_pop(score) OVER (PARTITION BY prompt_id) AS spread, $before || question || $between || completion || $after AS history
    FROM rows WHERE score IS NOT NULL AND completion IS NOT NULL
), once AS (
    SELECT * FROM told WHERE spread > 0
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY uniform(row_id, $seed), position) = 1
), distinct_ones AS (
    SELECT * FROM once QUALIFY row_number() OVER (PARTITION BY history ORDER BY spread DESC, position) = 1
)
SELECT [row_id] AS parents, left(sha256('history/' || history), 20) AS prompt_id, history AS prompt, question, answer, difficulty
FROM distinct_ones QUALIFY row_number() OVER (ORDER BY spread DESC, uniform(row_id, $seed), position) <= $count

-- summary: Every program that ran is the right program for the task that it really solved.
-- source: hindsight relabelling, CodeIt, arXiv:2402.04858
-- needs: input, completion, output, score
-- optional: difficulty
-- param goal: text = {input}>{output}=  -- the form of a task's prompt
-- makes rows: prompt_id, prompt, completion, answer, input, score, difficulty?
-- dropped: its program did not run, printed nothing, or the same was made of another row
WITH ran AS (
    SELECT row_id, position, input, completion, score, difficulty, rtrim(output, chr(10)) AS answer
    FROM rows WHERE completion IS NOT NULL AND trim(coalesce(output, ''), chr(10)) <> ''
), named AS (
    SELECT *, replace(replace($goal, '{input}', input), '{output}', answer) AS prompt FROM ran
    QUALIFY row_number() OVER (PARTITION BY input, completion, answer ORDER BY score DESC, position) = 1
)
SELECT [row_id] AS parents, md5(prompt) AS prompt_id, prompt, completion, answer, input, score, difficulty FROM named

-- summary: An agent's last answers that won the vote, as targets for answering after the others' answers.
-- source: Multiagent finetuning, arXiv:2501.05707 (critic agents)
-- needs: parents, asked, completion, verdict, voted
-- optional: prompt_id, answer, difficulty
-- input heard: parents  -- the agent's rows of answers_of_others, the parents of `rows`
-- input first: voted  -- the agent's first answers, the first parents of those, with the answer in each
-- param corrected: number in 0..1 = 0.5  -- share of rows whose first answer was another one; the commoner kind is cut down to it
-- makes rows: prompt_id, prompt, completion, answer?, difficulty?
-- dropped: another agent's, not the winning answer, or over the share
-- empty: none of the agent's answers won
WITH own AS (
    SELECT r.row_id, r.position, r.prompt_id, r.asked, r.completion, r.answer, r.difficulty, f.voted IS DISTINCT FROM r.voted AS changed
    FROM rows r JOIN heard h ON h.row_id = r.parents[1] JOIN first f ON f.row_id = h.parents[1] WHERE r.verdict = 'pass'
), counted AS (
    SELECT *, count(*) FILTER (changed) OVER () AS changes, count(*) FILTER (NOT changed) OVER () AS stays,
        row_number() OVER (PARTITION BY changed ORDER BY uniform(row_id, $seed), position) AS turn FROM own
)
SELECT [row_id] AS parents, left(sha256(asked), 20) AS prompt_id, asked AS prompt, completion, answer, difficulty FROM counted
WHERE changes = 0 OR stays = 0 OR CASE WHEN changed THEN turn * (1 - $corrected) <= stays * $corrected
                                       ELSE turn * $corrected <= changes * (1 - $corrected) END

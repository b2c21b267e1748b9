-- summary: The coverage of a round's samples: prompts solved by one sample on average, by any, and by the vote, and the gap that selection may close.
-- source: generation-verification gap, arXiv:2412.02674, section 3 (here the gap to a perfect verifier); coverage and sharpening, arXiv:2412.01951
-- needs: prompt_id, completion, verdict
-- optional: difficulty, voted
-- gives: any_right, one_right, vote_right, gap, sharpness
-- warns any_right: falls, below 0.05
-- warns gap: below 0.05
-- `sharpness`: of the samples of prompts that any sample solves, the share that is right; 1: nothing is left to sharpen.
-- The vote is by `voted`, the answer that `majority_vote` found; in rows without that column by the whole completion, which must then be
-- a bare answer: no two reasonings are the same.
WITH judged AS (SELECT *, coalesce(voted, completion) AS said FROM rows WHERE verdict IN ('pass', 'fail')), votes AS (
    SELECT prompt_id, said, bool_or(verdict = 'pass') AS vote_right, count(*) AS votes, min(position) AS position FROM judged GROUP BY ALL
), winners AS (
    SELECT prompt_id, vote_right FROM votes
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY votes DESC, position) = 1
), counted AS (
    SELECT prompt_id, min(difficulty) AS difficulty, count(*) FILTER (verdict = 'pass') / count(*) AS one_right,
        count(*) FILTER (verdict = 'pass') > 0 AS any_right FROM judged GROUP BY prompt_id
)
SELECT prompt_id, difficulty, any_right, one_right, vote_right, any_right::INT - one_right AS gap,
    CASE WHEN any_right THEN one_right END AS sharpness
FROM counted JOIN winners USING (prompt_id)

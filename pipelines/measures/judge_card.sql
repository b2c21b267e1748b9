-- summary: A judge against the truth, beside what it must beat: its choice against the vote's, and how many more samples it accepts than are right.
-- source: majority baseline: Is PRM Necessary?; judge and truth that diverge: Spontaneous Reward Hacking in Iterative Self-Refinement
-- needs: prompt_id, completion, score, verdict, truth_verdict
-- optional: difficulty, voted
-- gives: lead, judge_right, vote_right, one_right, precision, missed, inflation
-- better: neither
-- warns lead: below 0
-- warns inflation: rises
-- The judge has no name, the truth is called `truth`. `judge_right`: the sample with the highest score is right. `precision`: of the
-- samples that the judge accepts. `missed`: of the right samples, those that it rejects. `inflation`: share accepted less share right.
-- The vote is by `voted`, the answer that `majority_vote` found; in rows without that column by the whole completion, which must then be
-- a bare answer: no two reasonings are the same.
WITH told AS (
    SELECT *, coalesce(voted, completion) AS said, truth_verdict = 'pass' AS is_right FROM rows WHERE verdict IN ('pass', 'fail') AND truth_verdict IN ('pass', 'fail')
), chosen AS (
    SELECT prompt_id, is_right::INT AS judge_right FROM told WHERE score IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY score DESC, position) = 1
), votes AS (
    SELECT prompt_id, said, bool_or(is_right) AS is_right, count(*) AS votes, min(position) AS position FROM told GROUP BY ALL
), voted AS (
    SELECT prompt_id, is_right::INT AS vote_right FROM votes
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY votes DESC, position) = 1
), counted AS (
    SELECT prompt_id, min(difficulty) AS difficulty, count(*) AS samples, count(*) FILTER (is_right) AS rights,
        count(*) FILTER (verdict = 'pass') AS passed, count(*) FILTER (verdict = 'pass' AND is_right) AS shared FROM told GROUP BY prompt_id
)
SELECT prompt_id, difficulty, judge_right - vote_right AS lead, judge_right, vote_right, rights / samples AS one_right,
    CASE WHEN passed > 0 THEN shared / passed END AS precision, CASE WHEN rights > 0 THEN (rights - shared) / rights END AS missed,
    (passed - rights) / samples AS inflation
FROM counted JOIN voted USING (prompt_id) LEFT JOIN chosen USING (prompt_id)

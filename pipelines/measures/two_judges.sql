-- summary: Whether two judges of the same rows, or one judge asked in two wordings or orders, agree.
-- source: wording and order of options: Self-Assessment Tests are Unreliable Measures of LLM Personality
-- needs: prompt_id, verdict
-- optional: difficulty, task
-- input other: verdict  -- the same rows, judged again
-- gives: same, stricter
-- warns same: below 0.8, falls 0.1
-- `stricter`: the share that the other one accepts less the share that this one accepts.
SELECT r.prompt_id, min(r.difficulty) AS difficulty, min(r.task) AS task, count(*) FILTER (r.verdict = o.verdict) / count(*) AS same,
    (count(*) FILTER (o.verdict = 'pass') - count(*) FILTER (r.verdict = 'pass')) / count(*) AS stricter
FROM rows r JOIN other o USING (row_id) WHERE r.verdict IN ('pass', 'fail') AND o.verdict IN ('pass', 'fail') GROUP BY r.prompt_id

-- summary: The share of prompts whose result differs from an earlier evaluation's.
-- needs: prompt_id, verdict
-- optional: difficulty
-- input before: prompt_id, verdict  -- an earlier evaluation of the same prompts
-- gives: net_gain, gained, lost
-- better: neither
SELECT prompt_id, r.difficulty, (r.verdict = 'pass')::INT - (b.verdict = 'pass')::INT AS net_gain,
    r.verdict = 'pass' AND b.verdict = 'fail' AS gained, r.verdict = 'fail' AND b.verdict = 'pass' AS lost
FROM rows r JOIN before b USING (prompt_id) WHERE r.verdict IN ('pass', 'fail') AND b.verdict IN ('pass', 'fail')

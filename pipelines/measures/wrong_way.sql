-- summary: Right answers that were reached by a wrong way: what rows chosen by their answer teach as well.
-- source: CHAMP: A Competition-level Dataset for Fine-Grained Analyses of LLMs' Mathematical Reasoning Capabilities
-- needs: prompt_id, verdict, truth_verdict
-- optional: difficulty
-- gives: wrong_way, right
-- better: lower
-- warns wrong_way: above 0.2, rises
-- The truth about the answer is called `truth`; the judge of the way (of steps, of follow-up questions) has no name.
SELECT prompt_id, min(difficulty) AS difficulty,
    count(*) FILTER (truth_verdict = 'pass' AND verdict = 'fail') / nullif(count(*) FILTER (truth_verdict = 'pass'), 0) AS wrong_way,
    count(*) FILTER (truth_verdict = 'pass') / count(*) AS right
FROM rows WHERE verdict IN ('pass', 'fail') AND truth_verdict IN ('pass', 'fail') GROUP BY prompt_id

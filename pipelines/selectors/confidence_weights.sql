-- summary: Keep every sample, weighed by its own probability under the checkpoint that drew it.
-- source: RLSC, Confidence Is All You Need, arXiv:2506.06395 (loss: (p_old + alpha) * log p)
-- needs: completion, logprob
-- param alpha: number = 0.1  -- added to the probability
SELECT row_id, CASE WHEN logprob IS NULL OR completion IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN completion IS NULL THEN 'no completion' WHEN logprob IS NULL THEN 'no probability' ELSE 'own confidence' END AS reason,
    CASE WHEN logprob IS NULL OR completion IS NULL THEN 0 ELSE exp(logprob) + $alpha END AS weight
FROM rows

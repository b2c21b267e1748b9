-- summary: Whether answers given with confidence c are right in a share c of cases: expected calibration error, Brier score, overconfidence.
-- source: arXiv:1706.04599 (expected calibration error)
-- needs: prompt_id, truth_verdict
-- optional: score, vote_share, value
-- param confidence: text in score, vote_share, value = 'score'  -- the column with a number from 0 to 1
-- param bins: integer in 1.. = 10  -- equally wide bins of confidence; at least 1
-- gives: calibration_error, brier, overconfidence, confidence
-- better: lower
-- warns calibration_error: rises
-- warns overconfidence: rises
WITH said AS (
    SELECT prompt_id, (truth_verdict = 'pass')::INT AS is_right,
        CASE $confidence WHEN 'score' THEN score WHEN 'vote_share' THEN vote_share WHEN 'value' THEN value
            ELSE error('calibration: confidence must be score, vote_share or value') END AS sure
    FROM rows WHERE truth_verdict IN ('pass', 'fail')
), told AS (
    SELECT *, CASE WHEN $bins < 1 THEN error('calibration: bins must be at least 1') WHEN sure BETWEEN 0 AND 1 THEN least(floor(sure * $bins), $bins - 1)
        ELSE error('calibration: a confidence is not between 0 and 1: ' || sure::VARCHAR) END AS bin
    FROM said WHERE sure IS NOT NULL
), bins AS (SELECT bin, sign(sum(is_right - sure)) AS side FROM told GROUP BY bin), counted AS (
    SELECT prompt_id, avg(side * (is_right - sure)) AS error, avg((sure - is_right) ** 2) AS brier, avg(sure - is_right) AS over, avg(sure) AS sure
    FROM told JOIN bins USING (bin) GROUP BY prompt_id
)
SELECT prompt_id, error AS calibration_error, brier, over AS overconfidence, sure AS confidence FROM counted

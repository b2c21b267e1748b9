-- summary: The worth of right answers, wrong ones and refusals: a refusal's grows with the distance of its effort from a boundary.
-- source: Auto-CEI, arXiv:2410.07627, and its code (src/utils/utils.py)
-- A right answer is worth 1, a wrong one -1, a refusal 2 * sigmoid(sharpness * (effort - boundary)) - 1.
-- needs: completion, verdict
-- optional: difficulty
-- param refusal: text  -- a completion that ends in this text is a refusal
-- param boundary: number  -- the effort from which refusing is worth more than nothing, often a controller's value
-- param steps_by: text = null  -- the effort is the completion's parts between these marks; null: the prompt's difficulty
-- param sharpness: number = 1.0  -- how fast the worth changes there
-- adds: score
WITH told AS (
    SELECT row_id, CASE WHEN verdict = 'pass' THEN 'right'
        WHEN verdict = 'fail' AND ends_with(completion, $refusal) THEN 'refusal'
        WHEN verdict = 'fail' THEN 'wrong' ELSE coalesce(verdict, 'no verdict') END AS kind,
        CASE WHEN $steps_by IS NULL THEN difficulty ELSE len(string_split(completion, $steps_by)) END AS effort
    FROM rows
), rewarded AS (
    SELECT *, CASE kind WHEN 'right' THEN 1.0 WHEN 'refusal'
        THEN coalesce(2 / (1 + exp(-$sharpness * (effort - $boundary))) - 1, 0.0) WHEN 'wrong' THEN -1.0 END AS score FROM told
)
SELECT row_id, CASE WHEN score IS NULL THEN 'dropped' ELSE 'kept' END AS decision,
    CASE WHEN kind <> 'refusal' THEN kind WHEN score > 0 THEN 'apt refusal' ELSE 'early refusal' END AS reason, score
FROM rewarded

-- summary: One preference pair for each prompt: a best-scored completion against a worst-scored one.
-- source: Self-Rewarding, arXiv:2401.10020; length control of Meta-Rewarding, arXiv:2407.19594
-- needs: prompt_id, prompt, completion, score
-- optional: answer, difficulty
-- param min_gap: number in 0.. = 0.0  -- the scores of a pair differ by more than this
-- param length_control: number in 0..1 = 0.0  -- scores so near the best (worst), as a share of the prompt's range, are as good (bad)
-- makes rows: prompt_id, prompt, chosen, rejected, answer?, difficulty?
-- dropped: neither best nor worst, or too small a gap
-- empty: no prompt has two different scores
WITH ranges AS (
    SELECT *, max(score) OVER (PARTITION BY prompt_id) AS top, min(score) OVER (PARTITION BY prompt_id) AS bottom
    FROM rows WHERE score IS NOT NULL AND completion IS NOT NULL
), best AS (
    SELECT * FROM ranges WHERE score >= top - $length_control * (top - bottom)
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY length(completion) * ($length_control > 0)::INT, score DESC, position) = 1
), worst AS (
    SELECT * FROM ranges WHERE score <= bottom + $length_control * (top - bottom)
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY length(completion) * ($length_control > 0)::INT DESC, score, position) = 1
)
SELECT [b.row_id, w.row_id] AS parents, b.prompt_id, b.prompt, b.completion AS chosen, w.completion AS rejected,
    b.answer, b.difficulty
FROM best b JOIN worst w ON b.prompt_id = w.prompt_id
WHERE b.score - w.score > $min_gap AND b.completion <> w.completion

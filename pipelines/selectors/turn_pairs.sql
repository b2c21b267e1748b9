-- summary: Preference pairs of two turns with the same input: a best-scored move against a worst-scored one.
-- source: IPR, arXiv:2406.11176 (contrastive steps from one history); step-level DPO
-- needs: prompt_id, prompt, completion, score
-- optional: messages, invalid
-- param min_gap: number in 0.. = 0.0  -- the scores of a pair differ by more than this
-- param per_task: integer in 1.. = null  -- at most so many pairs of one task, those with the widest gaps first; null: all
-- makes rows: prompt_id, prompt, chosen, rejected, gap, *
-- dropped: neither best nor worst of what was written there, or too small a gap
-- empty: nowhere have two different moves different scores
WITH ranked AS (
    SELECT *,
        row_number() OVER (PARTITION BY prompt_id, prompt, messages ORDER BY score DESC, position) AS best,
        row_number() OVER (PARTITION BY prompt_id, prompt, messages ORDER BY score, position) AS worst
    FROM rows WHERE score IS NOT NULL
), paired AS (
    SELECT b.row_id AS better, w.row_id AS worse, b.prompt_id, b.prompt, b.completion AS chosen, w.completion AS rejected,
        b.score - w.score AS gap, b.position
    FROM ranked b JOIN ranked w
        ON b.prompt_id = w.prompt_id AND b.prompt = w.prompt AND b.messages IS NOT DISTINCT FROM w.messages
    WHERE b.best = 1 AND w.worst = 1 AND b.completion <> w.completion AND b.score - w.score > $min_gap AND b.invalid IS NULL
)
SELECT [better, worse] AS parents, prompt_id, prompt, chosen, rejected, gap FROM paired
QUALIFY $per_task IS NULL OR row_number() OVER (PARTITION BY prompt_id ORDER BY gap DESC, position) <= $per_task

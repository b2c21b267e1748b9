-- summary: One preference pair for each prompt: the completion that wins most of its duels against the one that wins fewest.
-- source: Meta-Rewarding, arXiv:2407.19594, section 2.2 (position weights). There Elo scores are fitted to the duels; where
--         every two have met, as in `duels`, they rank as the share of duels won does.
-- needs: prompt_id, prompt, completion
-- optional: difficulty
-- input duels: parents, score  -- judged rows of `duels`: 1 where the first of the two parents is better, 0 where the second is
-- param min_gap: number in 0.. = 0.0  -- the shares of duels won differ by more than this
-- makes rows: prompt_id, prompt, chosen, rejected, difficulty?
-- dropped: neither winner nor loser, or too small a gap
-- empty: no prompt has a winner and a loser
WITH told AS (
    SELECT parents[1] AS first, parents[2] AS second, score FROM duels WHERE score IS NOT NULL
), places AS (  -- a win in the place that wins rarely counts more
    SELECT sum(1 - score) / count(*) AS first_weight, sum(score) / count(*) AS second_weight FROM told
), points AS (
    SELECT first AS id, score * first_weight AS won FROM told, places
    UNION ALL SELECT second, (1 - score) * second_weight FROM told, places
), rated AS (
    SELECT r.*, p.share FROM rows r JOIN (SELECT id, avg(won) AS share FROM points GROUP BY id) p ON r.row_id = p.id
), best AS (
    SELECT * FROM rated QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY share DESC, position) = 1
), worst AS (
    SELECT * FROM rated QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY share, position) = 1
)
SELECT [b.row_id, w.row_id] AS parents, b.prompt_id, b.prompt, b.completion AS chosen, w.completion AS rejected, b.difficulty
FROM best b JOIN worst w ON b.prompt_id = w.prompt_id WHERE b.share - w.share > $min_gap AND b.completion <> w.completion

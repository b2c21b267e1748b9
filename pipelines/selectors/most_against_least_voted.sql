-- summary: One preference pair for each prompt: a sample of the most voted answer against one of another draw's least voted, weighed by the lead.
-- source: ScPO, arXiv:2411.04109, section 2 (pairs, threshold, and the lead's share of the votes as weight), section 3 (hotter draw)
-- needs: prompt_id, prompt, completion, voted, votes, vote_share
-- optional: answer, difficulty
-- input others: prompt_id, completion, voted, votes, vote_share  -- the draw that rejected samples come from; it may be `rows` itself
-- param min_share: number in 0..1 = 0.0  -- least share of the prompt's samples that the most voted answer has
-- makes rows: prompt_id, prompt, chosen, rejected, weight, answer?, difficulty?
-- dropped: neither drawn for the most nor for the least voted answer, or too few votes
WITH best AS (
    SELECT * FROM rows WHERE voted IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY votes DESC, uniform(row_id, $seed), position) = 1
), worst AS (
    SELECT * FROM others WHERE voted IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY votes, uniform(row_id, $seed), position) = 1
)
SELECT [b.row_id, w.row_id] AS parents, b.prompt_id, b.prompt, b.completion AS chosen, w.completion AS rejected,
    b.vote_share - w.vote_share AS weight, b.answer, b.difficulty
FROM best b JOIN worst w USING (prompt_id)
WHERE b.voted <> w.voted AND b.vote_share > w.vote_share AND b.vote_share >= $min_share

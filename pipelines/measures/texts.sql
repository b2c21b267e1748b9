-- summary: What completions are like: how long, how many were cut, how often they repeat each other or themselves.
-- source: quality of the data: LLMs Can Get "Brain Rot"!; length: Through the Valley
-- needs: prompt_id, completion
-- optional: finish_reason
-- gives: entropy, duplicates, elsewhere, variety, characters, cut, empty
-- warns entropy: falls 0.25
-- warns duplicates: rises 0.25
-- warns elsewhere: rises 0.25
-- warns variety: falls 0.1
-- warns characters: rises 0.5, falls 0.5
-- warns cut: rises
-- warns empty: rises
-- `entropy`: of a prompt's samples, in bits. `duplicates`: of a prompt's samples, those that repeat another. `elsewhere`: samples whose
-- text also occurs under another prompt. `variety`: different words of a completion among its words.
WITH told AS (
    SELECT prompt_id, completion, finish_reason, list_filter(string_split_regex(trim(completion), '\s+'), lambda word: word <> '') AS words
    FROM rows WHERE completion IS NOT NULL
), spread AS (SELECT completion, count(DISTINCT prompt_id) AS prompts FROM told GROUP BY completion), votes AS (
    SELECT prompt_id, count(*) AS votes, sum(count(*)) OVER (PARTITION BY prompt_id) AS samples FROM told GROUP BY prompt_id, completion
), entropies AS (
    SELECT prompt_id, -sum(votes / samples * log2(votes / samples)) AS entropy, 1 - count(*) / max(samples) AS duplicates FROM votes GROUP BY prompt_id
), counted AS (
    SELECT prompt_id, count(*) FILTER (prompts > 1) / count(*) AS elsewhere, avg(len(list_distinct(words)) / nullif(len(words), 0)) AS variety,
        sum(length(completion)) / count(*) AS characters, count(*) FILTER (finish_reason = 'length') / count(*) AS cut,
        count(*) FILTER (len(words) = 0) / count(*) AS empty
    FROM told JOIN spread USING (completion) GROUP BY prompt_id
)
SELECT prompt_id, entropy, duplicates, elsewhere, variety, characters, cut, empty FROM counted JOIN entropies USING (prompt_id)

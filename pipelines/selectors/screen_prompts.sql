-- summary: Keep posed prompts of a fitting length, without unwanted words, and different from known ones and those posed before them.
-- source: Self-Instruct, arXiv:2212.10560, section 2.2 and bootstrap_instructions.py; likeness is ROUGE-L, over lower-case words.
--         Here an earlier prompt that was left out itself counts among those posed before.
-- needs: prompt_id, prompt
-- input known: prompt  -- existing prompts
-- param max_likeness: number in 0..1 = 0.7  -- a prompt with a higher ROUGE-L to another one is left out
-- param min_words: integer in 0.. = 4  -- separated by white space
-- param max_words: integer in 1.. = 150  -- likewise
-- param unwanted: text = null  -- RE2 expression; a prompt in which it finds something is left out
-- empty: nothing new was posed
WITH posed AS (
    SELECT row_id, position, prompt, len(regexp_split_to_array(trim(prompt), '\s+')) AS words,
        list_filter(regexp_split_to_array(lower(prompt), '[^a-z0-9]+'), lambda word : word <> '') AS tokens FROM rows
), fitting AS (
    SELECT *, CASE WHEN words < $min_words THEN 'too short' WHEN words > $max_words THEN 'too long'
        WHEN regexp_matches(prompt, $unwanted) THEN 'unwanted words' END AS problem FROM posed
), others AS (
    SELECT list_filter(regexp_split_to_array(lower(prompt), '[^a-z0-9]+'), lambda word : word <> '') AS other, -1 AS place
    FROM (SELECT DISTINCT prompt FROM known WHERE prompt IS NOT NULL)
    UNION ALL SELECT tokens, position FROM fitting WHERE problem IS NULL
), compared AS (  -- only where enough words are in both for the likeness to be reached
    SELECT row_id, tokens, other, place FROM fitting JOIN others ON place < position AND len(other) > 0 AND len(tokens) > 0
        AND 2 * least(len(other), len(tokens)) > $max_likeness * (len(other) + len(tokens))
    WHERE problem IS NULL
        AND 2 * len(list_filter(tokens, lambda word : list_contains(other, word))) > $max_likeness * (len(other) + len(tokens))
        AND 2 * len(list_filter(other, lambda word : list_contains(tokens, word))) > $max_likeness * (len(other) + len(tokens))
), common AS (  -- the longest common subsequence, row by row of its table
    SELECT row_id, place, len(tokens) + len(other) AS together, list_last(list_reduce(
        list_prepend(list_transform(other, lambda word : 0), list_transform(tokens, lambda token : list_transform(other, lambda word : (word = token)::INT))),
        lambda above, same : list_transform(range(1, len(same) + 1), lambda last : list_max(list_transform(range(1, last + 1),
            lambda here : greatest(above[here], CASE WHEN here > 1 THEN above[here - 1] ELSE 0 END + same[here])))))) AS length
    FROM compared
), near AS (
    SELECT row_id, min(place) AS place FROM common WHERE 2 * length > $max_likeness * together GROUP BY row_id
)
SELECT f.row_id, CASE WHEN problem IS NULL AND n.row_id IS NULL THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN problem IS NOT NULL THEN problem WHEN n.place < 0 THEN 'like a known prompt' WHEN n.place >= 0 THEN 'like an earlier one'
        ELSE 'new' END AS reason
FROM fitting f LEFT JOIN near n ON f.row_id = n.row_id

-- summary: One question for each game whose players all gave a clue: who is the spy, by the others' picture and everybody's clues.
-- source: Vision-Zero, arXiv:2509.25541 (decision stage)
-- needs: prompt_id, completion, sample_index, game, player_number, players, spy, others_picture
-- optional: finish_reason
-- param question: text = 'Spy?'  -- text behind the clues
-- makes prompts: prompt_id, prompt, answer, images
-- dropped: a clue of its game is missing or has no end
-- empty: in no game did all players give a clue
SELECT list(row_id ORDER BY player_number, position) AS parents, left(sha256(game || '/' || sample_index), 20) AS prompt_id,
    string_agg(player_number || ' ' || trim(completion), ' ' ORDER BY player_number, position) || ' ' || $question AS prompt,
    first(spy ORDER BY position) AS answer, [first(others_picture ORDER BY position)] AS images
FROM rows WHERE completion IS NOT NULL AND coalesce(finish_reason <> 'length', true)
GROUP BY game, sample_index HAVING count(DISTINCT player_number) = first(players ORDER BY position)::INTEGER AND count(*) = count(DISTINCT player_number)

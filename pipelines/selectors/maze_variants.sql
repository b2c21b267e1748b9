-- summary: New mazes from mazes that were tried: the way back, and both turned by half; their shortest ways are as long.
-- source: WebRL, arXiv:2411.02337 (new tasks from failed ones; there a model writes them), for `grid_maze`
-- needs: prompt_id, task, entry
-- optional: difficulty
-- input known: entry  -- mazes that are there already
-- makes prompts: prompt_id, prompt, task, entry, difficulty?
-- dropped: all its variants are known
-- empty: all variants are known
WITH mazes AS (
    SELECT list(row_id ORDER BY position) AS parents, min(position) AS position, json_extract_string(entry, '$.maze') AS maze,
        first(difficulty ORDER BY position) AS difficulty
    FROM rows WHERE task = 'grid_maze' GROUP BY entry
), turned AS (SELECT *, unnest([maze, reverse(maze)]) AS drawn FROM mazes), variants AS (
    SELECT parents, position, difficulty, drawn FROM turned
    UNION ALL SELECT parents, position, difficulty, replace(replace(replace(drawn, 'A', '?'), 'G', 'A'), '?', 'G') FROM turned
), fresh AS (
    SELECT list_sort(list_distinct(flatten(list(parents ORDER BY position)))) AS parents, drawn, min(position) AS position, max(difficulty) AS difficulty
    FROM variants WHERE drawn NOT IN (SELECT json_extract_string(entry, '$.maze') FROM known) GROUP BY drawn
)
SELECT parents, left(sha256('maze/' || drawn), 20) AS prompt_id,
    'Lead A to G. Moves: L, R, U, D; # is a wall.' || chr(10) || drawn AS prompt, 'grid_maze' AS task,
    '{"maze":"' || drawn || '"}' AS entry, difficulty
FROM fresh ORDER BY position, drawn

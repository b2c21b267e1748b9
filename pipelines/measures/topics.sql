-- summary: Which of a list of topics posed prompts are about, and how evenly.
-- source: ChatGPT as a Math Questioner?; coverage as a condition of closed loops: Boundless Socratic Learning with Language Games
-- needs: task
-- input syllabus: task  -- a row for each wanted topic
-- gives: covered, evenness, largest, outside
-- warns covered: falls
-- warns largest: above 0.5, rises 0.25
-- `evenness`: entropy of the topics against that of equal shares. `largest`: share of the commonest topic. `outside`: share of prompts
-- whose topic is not on the list.
WITH wanted AS (SELECT DISTINCT task FROM syllabus), posed AS (SELECT task, count(*) AS prompts FROM rows GROUP BY task), total AS (
    SELECT sum(prompts) AS prompts FROM posed
)
SELECT count(*) FILTER (w.task IS NOT NULL) / (SELECT count(*) FROM wanted) AS covered,
    CASE WHEN (SELECT count(*) FROM wanted) > 1
        THEN -sum(p.prompts / t.prompts * log2(p.prompts / t.prompts)) / log2((SELECT count(*) FROM wanted)) END AS evenness,
    max(p.prompts / t.prompts) AS largest, coalesce(sum(p.prompts) FILTER (w.task IS NULL) / max(t.prompts), 0) AS outside
FROM posed p CROSS JOIN total t LEFT JOIN wanted w ON w.task = p.task

-- summary: Which of a list of topics posed prompts are about, and how evenly.
-- source: ChatGPT as a Math Questioner?; coverage as a condition of closed loops: Boundless Socratic Learning with Language Games
-- needs: task
-- input syllabus: task  -- a row for each wanted topic
-- gives: covered, evenness, largest, outside
-- warns covered: falls
-- warns largest: above 0.5, rises 0.25
-- `evenness`: entropy of the topics of the list among the prompts that are on it, against that of equal shares. `largest`: share of the
-- commonest topic. `outside`: share of prompts whose topic is not on the list, or that have none.
WITH wanted AS (SELECT DISTINCT task FROM syllabus WHERE task IS NOT NULL), posed AS (SELECT task, count(*) AS prompts FROM rows GROUP BY task), total AS (
    SELECT sum(prompts) AS prompts FROM posed
), listed AS (SELECT prompts / sum(prompts) OVER () AS share FROM posed JOIN wanted USING (task))
SELECT count(*) FILTER (w.task IS NOT NULL) / (SELECT count(*) FROM wanted) AS covered,
    CASE WHEN (SELECT count(*) FROM wanted) > 1
        THEN (SELECT -sum(share * log2(share)) FROM listed) / log2((SELECT count(*) FROM wanted)) END AS evenness,
    max(p.prompts / t.prompts) FILTER (p.task IS NOT NULL) AS largest, coalesce(sum(p.prompts) FILTER (w.task IS NULL) / max(t.prompts), 0) AS outside
FROM posed p CROSS JOIN total t LEFT JOIN wanted w ON w.task = p.task

-- summary: What rounds of learning did to tasks, from the evaluations of all rounds: forgetting, transfer, and what each round taught.
-- source: A Domain-Agnostic Approach for Characterization of Lifelong Learning Systems; here prompt by prompt, so that there are intervals
-- needs: prompt_id, verdict, round
-- optional: task, round
-- input trained: prompt_id  -- the rows that were trained on in all rounds so far, with `task` where there are several
-- gives: solved, forgetting, kept, backward_transfer, forward_transfer, learned, area
-- warns forgetting: above 0.05
-- warns forward_transfer: below 0
-- `rows` holds the same prompts in several rounds: [history.evaluation, evaluation]. A task is learned in the first round that trains on
-- it. `forgetting`: in the best round before this, less now. `kept`: of the prompts right in the round before, the share right now.
-- `backward_transfer`: now, less when the task was learned. `forward_transfer`: before the task was learned, less in the first round
-- here. `learned`: when the task was learned, less in the round before that. `area`: the mean over all rounds; high if learned early.
WITH told AS (
    SELECT prompt_id, coalesce(task, '') AS task, round, (verdict = 'pass')::INT AS solved FROM rows WHERE verdict IN ('pass', 'fail')
), ends AS (SELECT min(round) AS first, max(round) AS last FROM told), scores AS (
    SELECT task, round, count(*) FILTER (solved = 1) / count(*) AS score FROM told GROUP BY ALL
), tops AS (SELECT task, max(score) AS score FROM scores, ends WHERE round < last GROUP BY task), best AS (
    SELECT task, max(round) AS best_round FROM scores JOIN tops USING (task, score), ends WHERE round < last GROUP BY task
), seen AS (
    SELECT t.task, min(r.round) AS taught FROM (SELECT DISTINCT task FROM told) t JOIN trained r
        ON coalesce(r.task, t.task) = t.task WHERE r.round > (SELECT first FROM ends) GROUP BY t.task
), prompts AS (
    SELECT prompt_id, task, min(solved) FILTER (round = last) AS now, min(solved) FILTER (round = first) AS start,
        min(solved) FILTER (round = last - 1) AS before, min(solved) FILTER (round = best_round) AS top,
        min(solved) FILTER (round = taught) AS at_teaching, min(solved) FILTER (round = taught - 1) AS untaught,
        min(taught) AS taught, min(first) AS first, min(last) AS last, count(*) FILTER (solved = 1) / count(*) AS area
    FROM told JOIN ends ON true LEFT JOIN best USING (task) LEFT JOIN seen USING (task) GROUP BY ALL
)
SELECT prompt_id, nullif(task, '') AS task, now AS solved, top - now AS forgetting, CASE WHEN before = 1 THEN now END AS kept,
    CASE WHEN taught < last THEN now - at_teaching END AS backward_transfer,
    CASE WHEN taught - 1 > first THEN untaught - start END AS forward_transfer,
    at_teaching - untaught AS learned, area
FROM prompts WHERE now IS NOT NULL

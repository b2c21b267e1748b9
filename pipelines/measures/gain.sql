-- summary: What another round brings, from the evaluations of all rounds: the last gain, the rate at which gains shrink, a forecast, and when to stop.
-- source: marginal gains: Understanding the Gains from Repeated Self-Distillation; rates: Iterate to Accelerate
-- needs: prompt_id, verdict, round
-- param worth: number = 0.005  -- a gain that is worth a round; above 0
-- gives: gain, rate, next_gain, limit_reached, rounds_left, exponent
-- better: neither
-- warns rounds_left: below 1
-- `rows` holds several rounds: [history.evaluation, evaluation]. Gains are taken to shrink by `rate` a round (least squares over pairs of
-- consecutive gains). `next_gain` is the last one times `rate`, `limit_reached` the score that such gains lead to, `rounds_left` the
-- rounds to come whose gain is `worth` a round; with none the measure warns. `exponent`: positive gains follow this power of the
-- round's number (-2: 1 / round^2).
WITH scores AS (
    SELECT round, count(*) FILTER (verdict = 'pass') / count(*) AS score FROM rows WHERE verdict IN ('pass', 'fail') GROUP BY round
), gains AS (
    SELECT now.round, now.score, now.score - before.score AS gain FROM scores now LEFT JOIN scores before ON before.round = now.round - 1
), pairs AS (SELECT now.gain, before.gain AS before FROM gains now JOIN gains before ON before.round = now.round - 1), fitted AS (
    SELECT CASE WHEN sum(before * before) > 0 THEN least(greatest(sum(gain * before) / sum(before * before), 0), 0.999) END AS rate
    FROM pairs WHERE gain IS NOT NULL AND before IS NOT NULL
), powers AS (
    SELECT CASE WHEN count(*) > 1 THEN regr_slope(ln(gain), ln(round)) END AS exponent FROM gains WHERE gain > 0 AND round > 0
), last AS (
    SELECT score, gain FROM gains WHERE round = (SELECT max(round) FROM gains)
)
SELECT gain, rate, gain * rate AS next_gain, score + gain * rate / (1 - rate) AS limit_reached,
    CASE WHEN $worth <= 0 THEN error('gain: worth must be above 0') WHEN rate IS NULL THEN NULL
        WHEN gain <= $worth OR rate = 0 THEN 0 ELSE floor(ln($worth / gain) / ln(rate) + 1e-9) END AS rounds_left, exponent
FROM last, fitted, powers

-- summary: How often a completion verifies, goes back, sets a subgoal or works backwards, by words that say so.
-- source: arXiv:2503.01307, section 3 (there by a judge; these are rules)
-- needs: prompt_id, completion
-- param verifying: text = '\b(check|verify|verif\w+|double-check|makes? sense|correct\?)'  -- a regular expression, as are the others
-- param going_back: text = '\b(wait|hold on|actually|try again|instead|that.s (wrong|not right)|mistake|too (high|low))\b'
-- param subgoals: text = '\b(first|second|third|next|then|finally|step \d+)\b'
-- param backwards: text = '\b(work(ing)? backwards?|start(ing)? from the (target|goal|end)|in order to (get|reach))\b'
-- gives: verification, backtracking, subgoal, backward
-- warns verification: falls
-- warns backtracking: falls
-- Each number is how often a completion says so.
SELECT prompt_id, sum(len(regexp_extract_all(lower(completion), $verifying))) / count(*) AS verification,
    sum(len(regexp_extract_all(lower(completion), $going_back))) / count(*) AS backtracking,
    sum(len(regexp_extract_all(lower(completion), $subgoals))) / count(*) AS subgoal,
    sum(len(regexp_extract_all(lower(completion), $backwards))) / count(*) AS backward
FROM rows WHERE completion IS NOT NULL GROUP BY prompt_id

-- summary: What models reach that were trained on rows of their own, and how much more than without.
-- source: SEAL, arXiv:2506.10943, section 4.2
-- needs: prompt_id, score, before
-- gives: adapted, before, gained
SELECT prompt_id, avg(score) AS adapted, avg(before) AS before, avg(score - before) AS gained
FROM rows WHERE score IS NOT NULL GROUP BY prompt_id

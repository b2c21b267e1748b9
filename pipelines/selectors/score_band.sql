-- summary: Keep rows whose score lies in a band.
-- source: WebRL, arXiv:2411.02337 (new tasks that are neither mastered nor out of reach)
-- needs: score
-- param low: number   -- least score of a kept row
-- param high: number  -- greatest
-- empty: no score is in the band
SELECT row_id, CASE WHEN score BETWEEN $low AND $high THEN 'kept' ELSE 'dropped' END AS decision,
    CASE WHEN score < $low THEN 'below the band' WHEN score > $high THEN 'above it' WHEN score IS NULL THEN 'no score'
         ELSE 'in the band' END AS reason
FROM rows

-- summary: Keep everything. The control that shows the effect of filtering.
SELECT row_id, 'kept' AS decision, 'no filter' AS reason FROM rows

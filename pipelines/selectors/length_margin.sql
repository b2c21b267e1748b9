-- summary: Preference pairs with a margin for DPO: negative where the chosen completion is the longer one, so that length is no gain.
-- source: iLR-DPO, arXiv:2406.11817 (length-regularised DPO; there in tokens, here in characters)
-- needs: chosen, rejected
-- param alpha: number  -- margin of one character
-- adds: margin
SELECT row_id, 'kept' AS decision, 'measured' AS reason, $alpha * (length(rejected) - length(chosen)) AS margin FROM rows

-- What calls could have cost less, as finding.CLAIMS has it. Candidates are called <number of the group>/<cause>.
SELECT number || '/' || cause AS candidate, call_id, low_usd, high_usd, NULL::BIGINT AS tokens
FROM cache_calls
WHERE high_usd IS NOT NULL
UNION ALL
-- What reading saved elsewhere in the group is taken off the lower end: some of it may have read these writes.
SELECT number || '/unread_writes', call_id, (premium_usd * loss_share)::DECIMAL(38, 12), premium_usd, NULL::BIGINT
FROM cache_calls
WHERE is_unread AND premium_usd > 0 AND loss_share IS NOT NULL

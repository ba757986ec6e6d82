-- What calls could have cost less, as finding.CLAIMS has it. Candidates are called by the number of their group; those of
-- cache_order.py are order/<number>.
SELECT
    number::VARCHAR AS candidate,
    call_id,
    CASE WHEN is_automatic THEN 0 ELSE low_usd END AS low_usd,
    high_usd,
    NULL::BIGINT AS tokens
FROM cache_prefixes
WHERE high_usd > 0
UNION ALL
SELECT 'order/' || number, call_id, 0, high_usd, NULL
FROM cache_moved
WHERE high_usd > 0

-- A failed call gives its cost: surely where it was tried again, as then one of the two was paid for nothing.
SELECT
    candidate, call_id,
    CASE WHEN retried THEN cost_usd ELSE 0 END AS low_usd,
    cost_usd AS high_usd,
    tokens
FROM failed
WHERE cost_usd > 0 OR tokens > 0
UNION ALL
SELECT candidate, call_id, CASE WHEN is_sure THEN cost_usd ELSE 0 END, cost_usd, tokens
FROM looping
WHERE arguments IS NOT NULL AND (cost_usd > 0 OR tokens > 0)

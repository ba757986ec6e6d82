-- The calls whose reported cost is furthest from ours, in dollars. From reported_calls.sql.
SELECT
    call_id,
    service_name,
    coalesce(response_model, request_model) AS model,
    pricing_mode,
    ours,
    reported_cost_usd,
    cost_usd,
    cost_note
FROM (
{window_calls}
)
WHERE has_both AND NOT agrees
ORDER BY abs(reported_cost_usd - cost_usd) DESC, call_id
LIMIT $outliers

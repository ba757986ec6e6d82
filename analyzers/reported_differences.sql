-- Services and models whose calls' reported costs are furthest from ours, in dollars, of the calls that do not agree;
-- with the calls that differ most. From reported_calls.sql.
SELECT
    service_name,
    model,
    pricing_mode,
    count(*) AS calls,
    count(*) FILTER (ours = 'measured') AS measured_calls,
    sum(reported_cost_usd)::DECIMAL(38, 12) AS reported_usd,
    sum(cost_usd)::DECIMAL(38, 12) AS ours_usd,
    list(DISTINCT cost_note ORDER BY cost_note) FILTER (cost_note IS NOT NULL) AS cost_notes,
    list_transform(
        min({{'apart': -abs(reported_cost_usd - cost_usd), 'call_id': call_id}}, {examples}), lambda one: one.call_id
    ) AS examples
FROM (
{window_calls}
)
WHERE has_both AND NOT agrees
GROUP BY ALL
ORDER BY sum(abs(reported_cost_usd - cost_usd)) DESC, service_name, model, pricing_mode
LIMIT {most}

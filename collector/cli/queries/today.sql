-- One row per pricing mode of the calls between $start and $end. Their list prices are never added across modes.
SELECT
    pricing_mode,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code = 'ERROR') AS failed,
    count(*) FILTER (WHERE cost_usd IS NULL AND pricing_mode <> 'local') AS calls_without_cost,
    sum(cost_usd) AS list_price_usd
FROM calls
WHERE start_time >= $start AND start_time < $end
GROUP BY pricing_mode

-- What one alert rule looks at, by the value of its key, worst first. {key}, {condition} and {worst} come from alerts.py.
WITH figures AS (
    SELECT
        {key} AS key,
        count(*) AS calls,
        count(*) FILTER (WHERE status_code = 'ERROR') AS failed_calls,
        -- Where a call does not say what it read from the cache, its share is not known.
        sum(input_tokens) FILTER (WHERE cache_read_tokens IS NOT NULL) AS input_tokens,
        sum(cache_read_tokens) FILTER (WHERE input_tokens IS NOT NULL) AS cache_read_tokens,
        count(*) FILTER (WHERE input_tokens IS NOT NULL AND cache_read_tokens IS NULL) AS calls_without_cache,
        sum(cost_usd) FILTER (WHERE pricing_mode = 'api') AS spend_usd,
        count(*) FILTER (WHERE pricing_mode = 'api' AND cost_usd IS NULL) AS calls_without_cost,
        count(*) FILTER (WHERE pricing_mode <> 'api') AS calls_not_spend
    FROM calls
    WHERE start_time >= $start AND start_time < $end
    GROUP BY key
)

SELECT *
FROM figures
WHERE {condition}
ORDER BY {worst} DESC, key NULLS LAST
LIMIT $most

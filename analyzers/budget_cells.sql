-- What calls from $start to before $end used, by time and by the dimensions that budgets are for.
SELECT
    {time},
    {dimensions}
    count(*) AS calls,
    -- Spend alone: what a subscription's calls would have cost is not spent, and nobody knows what `unknown` is.
    coalesce(sum(cost_usd) FILTER (pricing_mode = 'api'), 0) AS usd,
    sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0))::DECIMAL(38, 12) AS tokens,
    count(*) FILTER (pricing_mode = 'api' AND cost_usd IS NULL AND NOT failed_without_usage) AS calls_without_cost,
    count(*) FILTER (
        (input_tokens IS NULL OR (output_tokens IS NULL AND role <> 'embeddings')) AND NOT failed_without_usage
    ) AS calls_without_usage,
    count(*) FILTER (pricing_mode = 'subscription') AS subscription_calls,
    count(*) FILTER (pricing_mode = 'local') AS local_calls,
    count(*) FILTER (pricing_mode = 'unknown') AS undeclared_calls
FROM (
    SELECT
        start_time,
        {sources}
        role,
        pricing_mode,
        cost_usd,
        input_tokens,
        output_tokens,
        -- A call that failed before anything was counted is not billed.
        status_code = 'ERROR' AND input_tokens IS NULL AND output_tokens IS NULL AS failed_without_usage
    FROM calls
    WHERE start_time >= $start AND start_time < $end
)
GROUP BY ALL

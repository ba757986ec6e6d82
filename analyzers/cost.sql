-- Figures per group and pricing mode, and per pricing mode alone (is_total).
-- {keys} and {key_names} are filled in from the DIMENSIONS of cost.py; values are parameters.
WITH window_calls AS (
    SELECT
        {keys},
        pricing_mode,
        status_code = 'ERROR' AS failed,
        -- An embedding has no output to count.
        input_tokens IS NULL OR (output_tokens IS NULL AND role <> 'embeddings') AS without_usage,
        duration_ns,
        input_tokens,
        cache_read_tokens,
        cache_write_tokens,
        output_tokens,
        reasoning_tokens,
        cost_usd,
        -- An estimate has the two ends alone, and is in no sum.
        CASE WHEN cost_usd IS NOT NULL THEN coalesce(cost_low_usd, cost_usd) END AS cost_low_usd,
        CASE WHEN cost_usd IS NOT NULL THEN coalesce(cost_high_usd, cost_usd) END AS cost_high_usd,
        CASE WHEN cost_usd IS NULL THEN cost_low_usd END AS estimate_low_usd,
        CASE WHEN cost_usd IS NULL THEN cost_high_usd END AS estimate_high_usd,
        possible_duplicate
    FROM calls
    WHERE start_time >= $start AND start_time < $end
),

groups AS (
    SELECT
        {key_names},
        pricing_mode,
        count(*) AS calls,
        count(*) FILTER (WHERE failed) AS failed_calls,
        sum(input_tokens) AS input_tokens,
        sum(cache_read_tokens) AS cache_read_tokens,
        sum(cache_write_tokens) AS cache_write_tokens,
        sum(output_tokens) AS output_tokens,
        sum(reasoning_tokens) AS reasoning_tokens,
        sum(cost_usd) AS cost_usd,
        quantile_cont(duration_ns, [0.5, 0.95]) FILTER (WHERE NOT failed) AS durations_ns,
        -- Input of calls that do not mention their cache counts as not cached: the share is a lower bound.
        sum(cache_read_tokens) FILTER (WHERE input_tokens IS NOT NULL) AS cache_read_of_input,
        count(*) FILTER (WHERE without_usage) AS calls_without_usage,
        count(*) FILTER (WHERE cost_usd IS NULL AND pricing_mode <> 'local') AS calls_without_cost,
        count(*) FILTER (WHERE input_tokens IS NOT NULL AND cache_read_tokens IS NULL) AS calls_without_cache,
        count(*) FILTER (WHERE possible_duplicate) AS possible_duplicates,
        sum(cost_low_usd) AS cost_low_usd,
        sum(cost_high_usd) AS cost_high_usd,
        count(*) FILTER (WHERE estimate_high_usd IS NOT NULL) AS estimated_calls,
        sum(estimate_low_usd) AS estimate_low_usd,
        sum(estimate_high_usd) AS estimate_high_usd,
        FALSE AS is_total
    FROM window_calls
    GROUP BY {key_names}, pricing_mode
),

-- Of millions of calls, adding up the groups takes next to nothing; a second grouping would take as long as the first.
totals AS (
    SELECT
        {no_keys},
        pricing_mode,
        sum(calls) AS calls,
        sum(failed_calls) AS failed_calls,
        sum(input_tokens) AS input_tokens,
        sum(cache_read_tokens) AS cache_read_tokens,
        sum(cache_write_tokens) AS cache_write_tokens,
        sum(output_tokens) AS output_tokens,
        sum(reasoning_tokens) AS reasoning_tokens,
        sum(cost_usd) AS cost_usd,
        any_value(whole.durations_ns) AS durations_ns,
        sum(cache_read_of_input) AS cache_read_of_input,
        sum(calls_without_usage) AS calls_without_usage,
        sum(calls_without_cost) AS calls_without_cost,
        sum(calls_without_cache) AS calls_without_cache,
        sum(possible_duplicates) AS possible_duplicates,
        sum(cost_low_usd) AS cost_low_usd,
        sum(cost_high_usd) AS cost_high_usd,
        sum(estimated_calls) AS estimated_calls,
        sum(estimate_low_usd) AS estimate_low_usd,
        sum(estimate_high_usd) AS estimate_high_usd,
        TRUE AS is_total
    FROM groups
    LEFT JOIN (
        SELECT pricing_mode, quantile_cont(duration_ns, [0.5, 0.95]) AS durations_ns
        FROM window_calls
        WHERE NOT failed
        GROUP BY pricing_mode
    ) AS whole USING (pricing_mode)
    GROUP BY pricing_mode
),

figures AS (FROM groups UNION ALL FROM totals)

SELECT
    {key_names},
    pricing_mode,
    calls,
    input_tokens,
    cache_read_tokens,
    cache_write_tokens,
    output_tokens,
    reasoning_tokens,
    cost_usd,
    durations_ns[1] / 1e6 AS latency_p50_ms,
    durations_ns[2] / 1e6 AS latency_p95_ms,
    failed_calls / calls AS error_rate,
    cache_read_of_input / nullif(input_tokens, 0) AS cache_share,
    calls_without_usage,
    calls_without_cost,
    calls_without_cache,
    possible_duplicates,
    cost_low_usd,
    cost_high_usd,
    estimated_calls,
    estimate_low_usd,
    estimate_high_usd,
    is_total
FROM figures
ORDER BY {order}

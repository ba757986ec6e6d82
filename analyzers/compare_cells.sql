-- What a window's calls came to, by pricing mode and what the change is taken apart by: provider, model and agent. Calls
-- without a known cost or usage are counted apart; they are in no sum.
SELECT
    pricing_mode,
    provider,
    coalesce(response_model, request_model) AS model,
    agent_name,
    count(*) FILTER (WHERE is_known) AS calls,
    coalesce(sum(input_tokens + coalesce(output_tokens, 0)) FILTER (WHERE is_known), 0)::BIGINT AS tokens,
    coalesce(sum(cost_usd) FILTER (WHERE is_known), 0) AS cost_usd,
    count(*) FILTER (WHERE NOT is_known) AS calls_left_out
FROM (
    SELECT
        pricing_mode,
        provider,
        response_model,
        request_model,
        agent_name,
        input_tokens,
        output_tokens,
        cost_usd,
        cost_usd IS NOT NULL AND input_tokens IS NOT NULL AS is_known
    FROM calls
    WHERE start_time >= $start AND start_time < $end
)
GROUP BY ALL
ORDER BY ALL

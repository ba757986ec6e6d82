-- What all calls of each group cost, and what a router would have saved of it.
WITH
groups AS (
    SELECT DISTINCT number, agent, service, provider, model, cheaper, pricing_mode, calls AS all_calls, cost_usd
    FROM routing_groups
),
routed AS (
    SELECT
        number,
        count(*) AS calls,
        count(*) FILTER (is_sure) AS sure_calls,
        sum(input_tokens)::BIGINT AS input_tokens,
        sum(cache_read_tokens)::BIGINT AS cache_read_tokens,
        sum(output_tokens)::BIGINT AS output_tokens,
        sum(low_usd) AS low_usd,
        sum(high_usd) AS high_usd
    FROM routing_claims
    GROUP BY number
)
SELECT
    groups.* EXCLUDE (cost_usd),
    routed.calls / all_calls AS share,
    routed.* EXCLUDE (number, low_usd, high_usd),
    cost_usd,
    cost_usd - high_usd AS routed_usd,
    low_usd
FROM routed
JOIN groups ON groups.number = routed.number
WHERE routed.calls >= $least_calls AND share >= $least_share::DOUBLE AND high_usd > 0
ORDER BY high_usd DESC, groups.number

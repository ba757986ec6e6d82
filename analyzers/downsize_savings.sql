-- What the calls of each group and kind cost, and would cost by the cheaper model: calls without a price there are in no sum.
WITH
groups AS (
    SELECT DISTINCT number, agent, service, provider, model, cheaper, pricing_mode, calls, cost_usd
    FROM downsize_groups
),
found AS (
    SELECT
        number,
        is_small,
        count(*) AS calls,
        count(DISTINCT agent_run) AS runs,
        count(*) FILTER (is_sure) AS sure_calls,
        sum(input_tokens)::BIGINT AS input_tokens,
        sum(cache_read_tokens)::BIGINT AS cache_read_tokens,
        sum(output_tokens)::BIGINT AS output_tokens,
        max(input_tokens) AS most_input_tokens,
        sum(found.cost_usd) AS cost_usd,
        sum(priced.cost_usd) AS cheaper_usd
    FROM downsize_calls AS found
    JOIN downsize_prices AS priced ON priced.node = found.node
    WHERE priced.cost_usd IS NOT NULL
    GROUP BY number, is_small
)
SELECT
    groups.number,
    CASE WHEN is_small THEN 'small' ELSE 'context' END AS kind,
    agent,
    service,
    provider,
    model,
    cheaper,
    pricing_mode,
    CASE
        WHEN is_small THEN found.calls / groups.calls
        ELSE found.cost_usd::DOUBLE / groups.cost_usd::DOUBLE
    END AS share,
    found.* EXCLUDE (number, is_small)
FROM found
JOIN groups ON groups.number = found.number
WHERE found.calls >= $least_calls AND share >= $least_share::DOUBLE AND cheaper_usd < found.cost_usd
ORDER BY found.cost_usd - cheaper_usd DESC, groups.number, kind

-- Views over `calls`: part of the lake's contract, as schema.sql is. Every view adds up to `calls`: calls without a
-- session, an agent or a unit stand in a row whose key is NULL.
-- cost_usd is the list-price value of all calls together, which is nobody's bill; its parts are what may be called so:
-- spend_usd what was billed per use (pricing_mode api), implied_api_value_usd what calls on a subscription would have
-- cost through the API (their fee stands in no view), list_price_usd that of calls whose plan nobody declared,
-- local_cost_usd what the configuration says of local models. No two of them are one sum of money.

CREATE OR REPLACE VIEW lake.sessions AS
SELECT
    tenant,
    session_id,
    min(start_time) AS start_time,
    max(start_time + to_microseconds(coalesce(duration_ns, 0) // 1000)) AS end_time,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code = 'ERROR') AS failed_calls,
    count(DISTINCT agent_name) AS agents,
    sum(input_tokens)::BIGINT AS input_tokens,
    sum(cache_read_tokens)::BIGINT AS cache_read_tokens,
    sum(cache_write_tokens)::BIGINT AS cache_write_tokens,
    sum(output_tokens)::BIGINT AS output_tokens,
    sum(reasoning_tokens)::BIGINT AS reasoning_tokens,
    sum(cost_usd) AS cost_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'api') AS spend_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'subscription') AS implied_api_value_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'unknown') AS list_price_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'local') AS local_cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM lake.calls
GROUP BY tenant, session_id;

CREATE OR REPLACE VIEW lake.agents AS
SELECT
    tenant,
    agent_name,
    min(start_time) AS start_time,
    max(start_time + to_microseconds(coalesce(duration_ns, 0) // 1000)) AS end_time,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code = 'ERROR') AS failed_calls,
    count(DISTINCT session_id) AS sessions,
    sum(input_tokens)::BIGINT AS input_tokens,
    sum(cache_read_tokens)::BIGINT AS cache_read_tokens,
    sum(cache_write_tokens)::BIGINT AS cache_write_tokens,
    sum(output_tokens)::BIGINT AS output_tokens,
    sum(reasoning_tokens)::BIGINT AS reasoning_tokens,
    sum(cost_usd) AS cost_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'api') AS spend_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'subscription') AS implied_api_value_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'unknown') AS list_price_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'local') AS local_cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM lake.calls
GROUP BY tenant, agent_name;

-- One row per value of each configured dimension. A call stands once under each dimension.
CREATE OR REPLACE VIEW lake.units AS
WITH assigned AS (
    {assigned}
)
SELECT
    tenant,
    dimension,
    unit AS value,
    min(start_time) AS start_time,
    max(start_time + to_microseconds(coalesce(duration_ns, 0) // 1000)) AS end_time,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code = 'ERROR') AS failed_calls,
    count(DISTINCT session_id) AS sessions,
    sum(input_tokens)::BIGINT AS input_tokens,
    sum(cache_read_tokens)::BIGINT AS cache_read_tokens,
    sum(cache_write_tokens)::BIGINT AS cache_write_tokens,
    sum(output_tokens)::BIGINT AS output_tokens,
    sum(reasoning_tokens)::BIGINT AS reasoning_tokens,
    sum(cost_usd) AS cost_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'api') AS spend_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'subscription') AS implied_api_value_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'unknown') AS list_price_usd,
    sum(cost_usd) FILTER (WHERE pricing_mode = 'local') AS local_cost_usd,
    count(*) FILTER (WHERE cost_usd IS NULL) AS calls_without_cost
FROM assigned
GROUP BY tenant, dimension, unit;

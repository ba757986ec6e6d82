-- What was read from the cache and written to it, by provider, model, agent and pricing mode.
-- `rates`: cache_rates.sql.
WITH
rates AS (
{rates}
),

window_calls AS (
    SELECT
        provider,
        coalesce(response_model, request_model) AS model,
        agent_name AS agent,
        pricing_mode,
        price_id,
        input_tokens,
        least(coalesce(cache_read_tokens, 0), input_tokens) AS read,
        coalesce(cache_write_tokens, 0) AS written,
        input_tokens IS NOT NULL AND coalesce(cache_read_tokens, cache_write_tokens) IS NOT NULL AS tells,
        token_semantics = 'unknown' AND coalesce(cache_read_tokens, cache_write_tokens) > 0 AS is_doubtful,
        cost_usd IS NOT NULL AS is_priced,
        coalesce(cost_cache_read_usd, 0) AS read_cost_usd,
        coalesce(cost_cache_write_usd, 0) AS write_cost_usd
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND role = 'llm'
),

-- Counts are multiplied once for each price, so that sums do not depend on the order of rows.
by_price AS (
    SELECT
        provider,
        model,
        agent,
        pricing_mode,
        input_usd,
        read_usd,
        count(*) AS calls,
        count(*) FILTER (tells) AS telling_calls,
        count(*) FILTER (is_doubtful) AS doubtful_calls,
        count(*) FILTER (input_tokens IS NULL) AS calls_without_input,
        sum(input_tokens) AS input_tokens,
        sum(input_tokens) FILTER (tells) AS telling_input,
        sum(read) FILTER (tells) AS read,
        sum(written) FILTER (tells) AS written,
        sum(read) FILTER (tells AND is_priced) AS priced_read,
        sum(written) FILTER (tells AND is_priced) AS priced_written,
        sum(read_cost_usd) FILTER (tells AND is_priced) AS read_cost_usd,
        sum(write_cost_usd) FILTER (tells AND is_priced) AS write_cost_usd
    FROM window_calls AS call
    LEFT JOIN rates
      ON rates.price_id = call.price_id
     AND coalesce(call.input_tokens, 0) > CASE WHEN tier_start = 0 THEN -1 ELSE tier_start END
     AND coalesce(call.input_tokens, 0) <= tier_end
    GROUP BY ALL
)

SELECT
    provider,
    model,
    agent,
    pricing_mode,
    sum(calls)::BIGINT AS calls,
    sum(telling_calls)::BIGINT AS telling_calls,
    sum(doubtful_calls)::BIGINT AS doubtful_calls,
    sum(calls_without_input)::BIGINT AS calls_without_input,
    sum(input_tokens)::BIGINT AS input_tokens,
    sum(telling_input)::BIGINT AS telling_input,
    sum(read)::BIGINT AS cache_read_tokens,
    sum(written)::BIGINT AS cache_write_tokens,
    sum((priced_read * input_usd)::DECIMAL(38, 12) - read_cost_usd) AS reading_saved_usd,
    sum(write_cost_usd - (priced_written * input_usd)::DECIMAL(38, 12)) AS writing_cost_usd,
    bool_or(read_usd IS NOT NULL) AS has_cache_price
FROM by_price
GROUP BY ALL
ORDER BY sum(input_tokens) DESC NULLS LAST, provider, model, agent, pricing_mode

-- List prices of what stands in call_candidates: TEMP call_prices, one row per node that has a price and reading of
-- its input count (1 as resolved; 2 the other one, only where nothing decided what it includes and it matters).
CREATE OR REPLACE TEMP TABLE call_prices AS
WITH
readings AS (
    SELECT node, 1 AS reading, input_tokens AS input FROM call_candidates
    UNION ALL
    SELECT node, 2, input_tokens + coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0)
    FROM call_candidates
    WHERE token_semantics = 'unknown'
      AND coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) > 0
),
rated AS (
    SELECT
        readings.node, readings.reading, readings.input,
        usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens,
        usage.cache_write_5m_tokens, usage.cache_write_1h_tokens, usage.reasoning_tokens,
        usage.audio_input_tokens, usage.audio_output_tokens, usage.image_input_tokens,
        rates.*
    FROM readings
    JOIN call_candidates AS usage ON usage.node = readings.node
    JOIN price_models
      ON price_models.provider IS NOT DISTINCT FROM usage.provider
     AND price_models.response_model IS NOT DISTINCT FROM usage.response_model
     AND price_models.request_model IS NOT DISTINCT FROM usage.request_model
    JOIN price_rates AS rates
      ON rates.price_provider = price_models.price_provider
     AND rates.price_model = price_models.price_model
    WHERE usage.start_time >= rates.valid_from
      AND usage.start_time < rates.valid_to
      AND (rates.time_from IS NULL OR usage.start_time::TIME >= rates.time_from)
      AND (rates.time_to IS NULL OR usage.start_time::TIME < rates.time_to)
      AND readings.input > rates.over_tokens
      AND readings.input <= rates.upto_tokens
      AND rates.input_rate IS NOT NULL
      -- Embeddings have no output; nor does anything that the source prices by its input alone.
      AND (usage.output_tokens IS NOT NULL OR usage.role = 'embeddings' OR rates.output_rate IS NULL)
),
-- Each token falls into one class. What a sender counts twice or too high is cut, so that no class is negative.
cached AS (
    SELECT
        *,
        least(coalesce(cache_read_tokens, 0), input) AS read,
        least(coalesce(cache_write_tokens, 0), input - read) AS written,
        least(coalesce(cache_write_1h_tokens, 0), written) AS written_1h,
        least(coalesce(cache_write_5m_tokens, 0), written - written_1h) AS written_5m
    FROM rated
),
classed AS (
    SELECT
        *,
        input - read - written AS uncached,
        CASE WHEN input_audio_rate IS NULL THEN 0 ELSE least(coalesce(audio_input_tokens, 0), uncached) END
            AS audio_input,
        CASE WHEN input_image_rate IS NULL THEN 0 ELSE least(coalesce(image_input_tokens, 0), uncached - audio_input) END
            AS image_input,
        CASE WHEN output_audio_rate IS NULL THEN 0 ELSE least(coalesce(audio_output_tokens, 0), output_tokens) END
            AS audio_output,
        CASE WHEN reasoning_rate IS NULL THEN 0 ELSE least(coalesce(reasoning_tokens, 0), output_tokens - audio_output) END
            AS reasoning
    FROM cached
),
-- What each class costs, in 1e-18 USD: tokens times the price of a million in 1e-12 USD.
exact AS (
    SELECT
        node, reading, price_id,
        coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) > input AS cut,
        (uncached - audio_input - image_input)::HUGEINT * input_rate
        + image_input::HUGEINT * coalesce(input_image_rate, 0) AS input_cost,
        (output_tokens - audio_output - reasoning)::HUGEINT * coalesce(output_rate, 0) AS output_cost,
        CASE WHEN cache_read_tokens IS NOT NULL THEN read::HUGEINT * cache_read_rate END AS cache_read_cost,
        CASE
            WHEN cache_write_tokens IS NOT NULL
                THEN (written - written_1h - written_5m)::HUGEINT * cache_write_rate
                + written_1h::HUGEINT * cache_write_1h_rate
                + written_5m::HUGEINT * cache_write_5m_rate
        END AS cache_write_cost,
        CASE WHEN reasoning_tokens IS NOT NULL THEN reasoning::HUGEINT * reasoning_rate END AS reasoning_cost,
        CASE
            WHEN input_audio_rate IS NOT NULL AND audio_input_tokens IS NOT NULL
            OR output_audio_rate IS NOT NULL AND audio_output_tokens IS NOT NULL
                THEN audio_input::HUGEINT * coalesce(input_audio_rate, 0)
                + coalesce(audio_output, 0)::HUGEINT * coalesce(output_audio_rate, 0)
        END AS audio_cost,
        request_rate::HUGEINT * 1000 AS request_cost
    FROM classed
),
-- Each part is rounded once.
rounded AS (
    SELECT
        node, reading, price_id, cut,
        usd(input_cost) AS cost_input_usd,
        usd(output_cost) AS cost_output_usd,
        usd(cache_read_cost) AS cost_cache_read_usd,
        usd(cache_write_cost) AS cost_cache_write_usd,
        usd(reasoning_cost) AS cost_reasoning_usd,
        usd(audio_cost) AS cost_audio_usd,
        usd(request_cost) AS cost_request_usd
    FROM exact
)
SELECT
    *,
    cost_input_usd + coalesce(cost_output_usd, 0) + coalesce(cost_cache_read_usd, 0)
    + coalesce(cost_cache_write_usd, 0) + coalesce(cost_reasoning_usd, 0) + coalesce(cost_audio_usd, 0)
    + coalesce(cost_request_usd, 0) AS cost_usd
FROM rounded

-- List prices of what stands in {relation}: TEMP call_prices, one row per node that has a price and reading of
-- its input count (1 as resolved; 2 the other one, only where nothing decided what it includes and it matters).
CREATE OR REPLACE TEMP TABLE call_prices AS
WITH
usage AS (
    SELECT
        node, role, provider, response_model, request_model, start_time, token_semantics, input_tokens, output_tokens,
        cache_read_tokens, cache_write_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens,
        audio_input_tokens, audio_output_tokens, image_input_tokens,
        coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) AS cached_tokens
    FROM {relation}
),
readings AS (
    SELECT *, input_tokens + CASE reading WHEN 2 THEN cached_tokens ELSE 0 END AS input
    FROM usage
    CROSS JOIN (VALUES (1), (2)) AS possible (reading)
    WHERE reading = 1 OR (token_semantics = 'unknown' AND cached_tokens > 0)
),
rated AS (
    SELECT
        readings.* EXCLUDE (role, provider, response_model, request_model, start_time, token_semantics, input_tokens),
        rates.* EXCLUDE (price_provider, price_model, variant, valid_from, valid_to, time_from, time_to)
    FROM readings
    JOIN price_models
      ON price_models.provider IS NOT DISTINCT FROM readings.provider
     AND price_models.response_model IS NOT DISTINCT FROM readings.response_model
     AND price_models.request_model IS NOT DISTINCT FROM readings.request_model
    JOIN price_rates AS rates
      ON rates.price_provider = price_models.price_provider
     AND rates.price_model = price_models.price_model
    WHERE readings.start_time >= rates.valid_from
      AND readings.start_time < rates.valid_to
      AND (rates.time_from IS NULL OR readings.start_time::TIME >= rates.time_from)
      AND (rates.time_to IS NULL OR readings.start_time::TIME < rates.time_to)
      AND readings.input > rates.over_tokens
      AND readings.input <= rates.upto_tokens
      AND rates.input_rate IS NOT NULL
      -- Embeddings have no output; nor does anything that the source prices by its input alone.
      AND (readings.output_tokens IS NOT NULL OR readings.role = 'embeddings' OR rates.output_rate IS NULL)
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
-- What each class costs in 1e-18 USD: tokens times the price of a million in 1e-12 USD. NULL is a class that the call
-- does not report, or that has no price apart.
exact AS (
    SELECT
        node, reading, price_id,
        cached_tokens > input AS cut,
        [
            (uncached - audio_input - image_input)::HUGEINT * input_rate
            + image_input::HUGEINT * coalesce(input_image_rate, 0),
            (output_tokens - audio_output - reasoning)::HUGEINT * coalesce(output_rate, 0),
            CASE WHEN cache_read_tokens IS NOT NULL THEN read::HUGEINT * cache_read_rate END,
            CASE
                WHEN cache_write_tokens IS NOT NULL
                    THEN (written - written_1h - written_5m)::HUGEINT * cache_write_rate
                    + written_1h::HUGEINT * cache_write_1h_rate
                    + written_5m::HUGEINT * cache_write_5m_rate
            END,
            CASE WHEN reasoning_tokens IS NOT NULL THEN reasoning::HUGEINT * reasoning_rate END,
            CASE
                WHEN input_audio_rate IS NOT NULL AND audio_input_tokens IS NOT NULL
                OR output_audio_rate IS NOT NULL AND audio_output_tokens IS NOT NULL
                    THEN audio_input::HUGEINT * coalesce(input_audio_rate, 0)
                    + coalesce(audio_output, 0)::HUGEINT * coalesce(output_audio_rate, 0)
            END,
            request_rate::HUGEINT * 1000
        ] AS costs
    FROM classed
),
-- Each part is rounded once; the total is the sum of the rounded parts.
rounded AS (
    SELECT * EXCLUDE (costs), list_transform(costs, lambda cost: usd(cost)) AS parts
    FROM exact
)
SELECT
    node, reading, price_id, cut,
    parts[1] AS cost_input_usd,
    parts[2] AS cost_output_usd,
    parts[3] AS cost_cache_read_usd,
    parts[4] AS cost_cache_write_usd,
    parts[5] AS cost_reasoning_usd,
    parts[6] AS cost_audio_usd,
    parts[7] AS cost_request_usd,
    list_sum(parts) AS cost_usd
FROM rounded

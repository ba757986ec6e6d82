-- List prices of what stands in call_candidates: TEMP call_prices, one row per node and reading of its input count
-- (1 as resolved; 2 the other reading, only where nothing decided what the count includes and it matters).
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
        usage.role, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens,
        usage.cache_write_5m_tokens, usage.cache_write_1h_tokens, usage.reasoning_tokens,
        usage.audio_input_tokens, usage.audio_output_tokens, usage.image_input_tokens,
        price_models.price_model IS NOT NULL AS is_known_model,
        coalesce(usage.response_model, usage.request_model) IS NOT NULL AS has_model,
        rates.* EXCLUDE (price_model)
    FROM readings
    JOIN call_candidates AS usage ON usage.node = readings.node
    LEFT JOIN price_models
      ON price_models.provider IS NOT DISTINCT FROM usage.provider
     AND price_models.response_model IS NOT DISTINCT FROM usage.response_model
     AND price_models.request_model IS NOT DISTINCT FROM usage.request_model
    LEFT JOIN price_rates AS rates
      ON rates.price_provider = price_models.price_provider
     AND rates.price_model = price_models.price_model
     AND usage.start_time >= rates.valid_from
     AND usage.start_time < rates.valid_to
     AND (rates.time_from IS NULL OR usage.start_time::TIME >= rates.time_from)
     AND (rates.time_to IS NULL OR usage.start_time::TIME < rates.time_to)
     AND coalesce(readings.input, 0) > rates.over_tokens
     AND coalesce(readings.input, 0) <= rates.upto_tokens
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
explained AS (
    SELECT
        *,
        CASE
            WHEN input IS NULL AND output_tokens IS NULL THEN 'no_usage'
            WHEN input IS NULL THEN 'no_input_tokens'
            WHEN NOT has_model THEN 'no_model'
            WHEN NOT is_known_model THEN 'unknown_model'
            WHEN price_id IS NULL THEN 'no_price_at_date'
            WHEN input_rate IS NULL THEN 'no_token_price'
            WHEN output_tokens IS NULL AND role <> 'embeddings' AND output_rate IS NOT NULL THEN 'no_output_tokens'
        END AS unpriced
    FROM classed
),
parts AS (
    SELECT
        node, reading, price_id, unpriced,
        coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) > input AS cut,
        usd(
            (uncached - audio_input - image_input)::HUGEINT * input_rate
            + image_input * coalesce(input_image_rate, 0), 1000000
        ) AS cost_input_usd,
        usd((output_tokens - audio_output - reasoning)::HUGEINT * coalesce(output_rate, 0), 1000000)
            AS cost_output_usd,
        CASE WHEN cache_read_tokens IS NOT NULL THEN usd(read::HUGEINT * cache_read_rate, 1000000) END
            AS cost_cache_read_usd,
        CASE
            WHEN cache_write_tokens IS NOT NULL THEN usd(
                (written - written_1h - written_5m)::HUGEINT * cache_write_rate
                + written_1h::HUGEINT * cache_write_1h_rate
                + written_5m::HUGEINT * cache_write_5m_rate, 1000000
            )
        END AS cost_cache_write_usd,
        CASE
            WHEN reasoning_rate IS NOT NULL AND reasoning_tokens IS NOT NULL
                THEN usd(reasoning::HUGEINT * reasoning_rate, 1000000)
        END AS cost_reasoning_usd,
        CASE
            WHEN input_audio_rate IS NOT NULL AND audio_input_tokens IS NOT NULL
            OR output_audio_rate IS NOT NULL AND audio_output_tokens IS NOT NULL
                THEN usd(
                    audio_input::HUGEINT * coalesce(input_audio_rate, 0)
                    + coalesce(audio_output, 0)::HUGEINT * coalesce(output_audio_rate, 0), 1000000
                )
        END AS cost_audio_usd,
        CASE WHEN request_rate IS NOT NULL THEN usd(request_rate::HUGEINT, 1000) END AS cost_request_usd
    FROM explained
    WHERE unpriced IS NULL
)
SELECT
    *,
    cost_input_usd + coalesce(cost_output_usd, 0) + coalesce(cost_cache_read_usd, 0)
    + coalesce(cost_cache_write_usd, 0) + coalesce(cost_reasoning_usd, 0) + coalesce(cost_audio_usd, 0)
    + coalesce(cost_request_usd, 0) AS cost_usd
FROM parts
UNION ALL BY NAME
SELECT node, reading, unpriced
FROM explained
WHERE unpriced IS NOT NULL

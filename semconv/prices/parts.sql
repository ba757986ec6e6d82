-- From `readings` (calls, each with the sheet to price it by and its input) to `parts`: what each part costs.
rated AS (
    SELECT
        readings.*,
        rates.* EXCLUDE (sheet, valid_from, valid_to, time_from, time_to, over_tokens, upto_tokens),
        -- Nobody is paid for a local model, unless the configuration says what it costs.
        rates.price_id IS NOT NULL AND (rates.is_override OR readings.plan_tier IS DISTINCT FROM 'local')
        AND CASE
            -- What costs nothing by the token needs no counts, but a call that was made.
            WHEN rates.input_rate IS NULL AND rates.output_rate IS NULL
                THEN coalesce(rates.request_rate, rates.hour_rate * readings.duration_ns::HUGEINT) IS NOT NULL
                AND (readings.status_code <> 'ERROR' OR coalesce(readings.input, readings.output_tokens) IS NOT NULL)
            -- Embeddings have no output; nor does anything that is priced by its input alone.
            ELSE rates.input_rate IS NOT NULL AND readings.input IS NOT NULL
                AND (readings.output_tokens IS NOT NULL OR readings.role = 'embeddings' OR rates.output_rate IS NULL)
        END AS is_priced
    FROM readings
    -- Only comparisons stand here: with anything else the join would be none by hashes.
    LEFT JOIN price_rates AS rates
      ON rates.sheet = readings.sheet
     AND readings.start_time >= rates.valid_from
     AND readings.start_time < rates.valid_to
     AND readings.start_time::TIME >= rates.time_from
     AND readings.start_time::TIME < rates.time_to
     AND coalesce(readings.input, 0) > rates.over_tokens
     AND coalesce(readings.input, 0) <= rates.upto_tokens
),
-- Each token falls into one class. What a sender counts twice or too high is cut, so that no class is negative.
cached AS (
    SELECT
        *,
        least(coalesce(cache_read_tokens, 0), input) AS read,
        greatest(least(coalesce(cache_write_tokens, 0), input - coalesce(cache_read_tokens, 0)), 0) AS written,
        greatest(input - cached_tokens(cache_read_tokens, cache_write_tokens), 0) AS uncached,
        CASE WHEN audio_output_rate IS NULL THEN 0 ELSE least(coalesce(audio_output_tokens, 0), output_tokens) END
            AS audio_output
    FROM rated
),
-- Other lives of a cache than 5 minutes and an hour have no price of their own: they cost what a write costs.
heard AS (
    SELECT
        *,
        least(coalesce(cache_write_1h_tokens, 0), written) AS written_1h,
        least(
            coalesce(cache_write_5m_tokens, 0), greatest(written - coalesce(cache_write_1h_tokens, 0), 0)
        ) AS written_5m,
        CASE
            WHEN cache_write_1h_tokens IS NULL
                THEN greatest(
                    written - coalesce(cache_write_5m_tokens, 0) - coalesce(cache_write_30m_tokens, 0)
                    - coalesce(cache_write_12h_tokens, 0), 0
                )
            ELSE 0
        END AS written_unknown,
        CASE WHEN audio_input_rate IS NULL THEN 0 ELSE least(coalesce(audio_input_tokens, 0), uncached) END
            AS audio_input,
        CASE WHEN reasoning_rate IS NULL THEN 0 ELSE least(coalesce(reasoning_tokens, 0), output_tokens - audio_output) END
            AS reasoning
    FROM cached
),
-- Audio and images fill what is not cached first; only what is left of them was read from the cache.
seen AS (
    SELECT
        *,
        CASE WHEN image_input_rate IS NULL THEN 0 ELSE least(coalesce(image_input_tokens, 0), uncached - audio_input) END
            AS image_input,
        CASE WHEN cached_audio_rate IS NULL THEN 0 ELSE least(coalesce(audio_input_tokens, 0) - audio_input, read) END
            AS audio_read
    FROM heard
),
classed AS (
    SELECT
        *,
        uncached - audio_input - image_input AS text_input,
        CASE
            WHEN cached_image_rate IS NULL THEN 0
            ELSE least(coalesce(image_input_tokens, 0) - image_input, read - audio_read)
        END AS image_read
    FROM seen
),
-- In 1e-12 USD, each rounded once. NULL is a part that the call does not report, or that has no price apart.
parts AS (
    SELECT
        *,
        CASE
            WHEN is_priced THEN {pico}(text_input * input_rate + image_input * coalesce(image_input_rate, 0))
        END AS input_part,
        CASE
            WHEN is_priced AND input_rate IS NOT NULL
                THEN {pico}((output_tokens - audio_output - reasoning) * coalesce(output_rate, 0))
        END AS output_part,
        CASE
            WHEN is_priced AND cache_read_tokens IS NOT NULL
                THEN {pico}(
                    (read - audio_read - image_read) * cache_read_rate
                    + audio_read * coalesce(cached_audio_rate, 0) + image_read * coalesce(cached_image_rate, 0)
                )
        END AS cache_read_part,
        CASE
            WHEN is_priced AND cache_write_tokens IS NOT NULL
                THEN {pico}(
                    (written - written_1h - written_5m) * cache_write_rate + written_5m * cache_write_5m_rate + written_1h * cache_write_1h_rate
                )
        END AS cache_write_part,
        CASE WHEN is_priced AND reasoning_tokens IS NOT NULL THEN {pico}(reasoning * reasoning_rate) END AS reasoning_part,
        CASE
            WHEN is_priced
            AND coalesce(audio_input_rate + audio_input_tokens, audio_output_rate + audio_output_tokens) IS NOT NULL
                THEN {pico}(
                    audio_input * coalesce(audio_input_rate, 0)
                    + coalesce(audio_output, 0) * coalesce(audio_output_rate, 0)
                )
        END AS audio_part,
        CASE
            WHEN NOT is_priced THEN NULL
            WHEN hour_rate IS NOT NULL THEN half_even(duration_ns::HUGEINT * hour_rate, {hour})::BIGINT
            ELSE {pico}(request_rate * 1000)
        END AS request_part,
        cache_read_tokens IS NULL AND cache_read_rate < input_rate AND uncached > 0 AS may_be_read,
        written_unknown > 0 AND cache_write_1h_rate <> cache_write_rate AS may_live_longer
    FROM classed
),
-- How much less or more it may be: all input read from the cache; writes that live for another time; an input that
-- does not include what was cached.
totals AS (
    SELECT
        *,
        CASE
            WHEN is_priced
                THEN coalesce(input_part, 0) + coalesce(output_part, 0) + coalesce(cache_read_part, 0)
                + coalesce(cache_write_part, 0) + coalesce(reasoning_part, 0) + coalesce(audio_part, 0)
                + coalesce(request_part, 0)
        END AS total,
        CASE
            WHEN may_be_read
                THEN {pico}(
                    text_input * (input_rate - cache_read_rate)
                    + audio_input
                    * greatest(coalesce(audio_input_rate, 0) - coalesce(cached_audio_rate, cache_read_rate), 0)
                    + image_input
                    * greatest(coalesce(image_input_rate, 0) - coalesce(cached_image_rate, cache_read_rate), 0)
                )
            ELSE 0
        END
        + CASE
            WHEN may_live_longer THEN {pico}(written_unknown * greatest(cache_write_rate - cache_write_1h_rate, 0)) ELSE 0
        END AS less,
        CASE
            WHEN may_live_longer THEN {pico}(written_unknown * greatest(cache_write_1h_rate - cache_write_rate, 0)) ELSE 0
        END
        + CASE
            WHEN has_unknown_input THEN {pico}(cached_tokens(cache_read_tokens, cache_write_tokens) * input_rate) ELSE 0
        END AS more
    FROM parts
)

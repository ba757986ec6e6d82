-- A snapshot's rows as one rate sheet per price and context tier, in 1e-12 USD for a unit (a million tokens, a
-- thousand requests). A class of tokens without a price of its own is priced as the class it belongs to.
CREATE OR REPLACE TEMP TABLE price_rates AS
WITH
sheets AS (
    SELECT
        price_id,
        provider AS price_provider,
        model AS price_model,
        variant,
        coalesce(valid_from, TIMESTAMP '-infinity') AS valid_from,
        coalesce(valid_to, TIMESTAMP 'infinity') AS valid_to,
        time_from,
        time_to,
        tier_start,
        max(price_usd) FILTER (unit = 'input_mtok') AS input_price,
        max(price_usd) FILTER (unit = 'output_mtok') AS output_price,
        max(price_usd) FILTER (unit = 'cache_read_mtok') AS cache_read_price,
        max(price_usd) FILTER (unit = 'cache_write_mtok') AS cache_write_price,
        max(price_usd) FILTER (unit = 'cache_write_5m_mtok') AS cache_write_5m_price,
        max(price_usd) FILTER (unit = 'cache_write_1h_mtok') AS cache_write_1h_price,
        max(price_usd) FILTER (unit = 'input_audio_mtok') AS input_audio_price,
        max(price_usd) FILTER (unit = 'output_audio_mtok') AS output_audio_price,
        max(price_usd) FILTER (unit = 'input_image_mtok') AS input_image_price,
        max(price_usd) FILTER (unit = 'output_reasoning_mtok') AS reasoning_price,
        max(price_usd) FILTER (unit = 'requests_kcount') AS request_price
    FROM price_rows
    WHERE variant = 'standard'
    GROUP BY ALL
)
SELECT
    price_id, price_provider, price_model, variant, valid_from, valid_to, time_from, time_to,
    -- The tier holds for inputs above `over_tokens` up to and including `upto_tokens`.
    CASE WHEN tier_start = 0 THEN -1 ELSE tier_start END AS over_tokens,
    lead(tier_start, 1, 9223372036854775807)
        OVER (PARTITION BY price_id ORDER BY tier_start) AS upto_tokens,
    pico(input_price) AS input_rate,
    pico(output_price) AS output_rate,
    pico(coalesce(cache_read_price, input_price)) AS cache_read_rate,
    pico(coalesce(cache_write_price, input_price)) AS cache_write_rate,
    pico(coalesce(cache_write_5m_price, cache_write_price, input_price)) AS cache_write_5m_rate,
    pico(coalesce(cache_write_1h_price, cache_write_price, input_price)) AS cache_write_1h_rate,
    pico(input_audio_price) AS input_audio_rate,
    pico(output_audio_price) AS output_audio_rate,
    pico(input_image_price) AS input_image_rate,
    pico(reasoning_price) AS reasoning_rate,
    pico(request_price) AS request_rate
FROM sheets

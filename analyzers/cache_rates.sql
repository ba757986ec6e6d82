-- What a token costs in USD by the lists that calls were priced by, one row per price and context tier. A write without
-- a price of its own costs what new input costs.
SELECT
    price_id,
    tier_start,
    coalesce(lead(tier_start) OVER tiers, 9223372036854775807) AS tier_end,
    input_usd,
    read_usd,
    coalesce(write_usd, input_usd) AS write_usd,
    hour_usd
FROM (
    SELECT
        price_id,
        tier_start,
        max(price_usd::DOUBLE / 1e6) FILTER (unit = 'input_mtok') AS input_usd,
        max(price_usd::DOUBLE / 1e6) FILTER (unit = 'cache_read_mtok') AS read_usd,
        coalesce(
            max(price_usd::DOUBLE / 1e6) FILTER (unit = 'cache_write_5m_mtok'),
            max(price_usd::DOUBLE / 1e6) FILTER (unit = 'cache_write_mtok')
        ) AS write_usd,
        max(price_usd::DOUBLE / 1e6) FILTER (unit = 'cache_write_1h_mtok') AS hour_usd
    FROM prices
    GROUP BY price_id, tier_start
)
WINDOW tiers AS (PARTITION BY price_id ORDER BY tier_start)

-- What each call would have cost less (finding.CLAIMS) in each tier that has a price for it, one row per tier. At least:
-- in a batch, where calls may run apart from each other, nothing is read from a cache, and nothing is won by calls of
-- which nobody knows whether they wait for another's answer; what is in doubt about a call is read alike for both.
WITH tiers AS (
    SELECT
        'flex' AS tier,
        found.node,
        found.cost_usd - priced.cost_usd AS high_usd,
        least(
            found.cost_usd - priced.cost_usd,
            found.cost_low_usd - coalesce(priced.cost_low_usd, priced.cost_usd),
            found.cost_high_usd - coalesce(priced.cost_high_usd, priced.cost_usd)
        ) AS low_usd
    FROM batch_calls AS found
    JOIN flex_prices AS priced ON priced.node = found.node
    WHERE high_usd IS NOT NULL AND priced.cost_note IS DISTINCT FROM 'tier_not_priced'
    UNION ALL
    SELECT
        'batch' AS tier,
        found.node,
        found.cost_usd - priced.cost_usd AS high_usd,
        least(
            CASE WHEN NOT found.is_alone THEN 0 END,
            found.cost_usd - coalesce(uncached.cost_usd, priced.cost_usd),
            found.cost_low_usd
            - coalesce(uncached.cost_low_usd, uncached.cost_usd, priced.cost_low_usd, priced.cost_usd),
            found.cost_high_usd
            - coalesce(uncached.cost_high_usd, uncached.cost_usd, priced.cost_high_usd, priced.cost_usd)
        ) AS low_usd
    FROM batch_calls AS found
    JOIN batch_prices AS priced ON priced.node = found.node
    LEFT JOIN batch_uncached AS uncached ON uncached.node = found.node
    WHERE NOT found.is_chained AND high_usd IS NOT NULL AND priced.cost_note IS DISTINCT FROM 'tier_not_priced'
)
SELECT
    tiers.tier || '-' || found.job AS candidate,
    found.call_id,
    tiers.low_usd,
    tiers.high_usd,
    NULL::BIGINT AS tokens,
    tiers.tier,
    found.node,
    found.job
FROM tiers
JOIN batch_calls AS found ON found.node = tiers.node

-- What each call would have cost less by the cheaper model (finding.CLAIMS), and what routing_savings.sql adds up. At least
-- that is nothing where the call turned out to be more than it seemed; elsewhere what another model's cache held is not
-- read, and what is in doubt about a call is read alike for both.
SELECT
    'route-' || found.number AS candidate,
    found.call_id,
    CASE
        WHEN found.is_sure
            THEN least(
                found.cost_usd - coalesce(uncached.cost_usd, priced.cost_usd),
                found.cost_low_usd
                - coalesce(uncached.cost_low_usd, uncached.cost_usd, priced.cost_low_usd, priced.cost_usd),
                found.cost_high_usd
                - coalesce(uncached.cost_high_usd, uncached.cost_usd, priced.cost_high_usd, priced.cost_usd)
            )
        ELSE 0
    END AS low_usd,
    found.cost_usd - priced.cost_usd AS high_usd,
    NULL::BIGINT AS tokens,
    found.number,
    found.is_sure,
    found.input_tokens,
    found.cache_read_tokens,
    found.output_tokens
FROM routing_calls AS found
JOIN routing_prices AS priced ON priced.node = found.node
LEFT JOIN routing_uncached AS uncached ON uncached.node = found.node
WHERE priced.cost_usd IS NOT NULL

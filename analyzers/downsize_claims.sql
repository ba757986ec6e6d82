-- What each call would have cost less by the cheaper model (finding.CLAIMS); no tokens are freed. At least that is nothing
-- where it is not sure that the cheaper one may serve it; elsewhere what is in doubt about a call is read alike for both.
SELECT
    CASE WHEN found.is_small THEN 'small-' ELSE 'context-' END || found.number AS candidate,
    found.call_id,
    CASE
        WHEN found.is_sure
            THEN least(
                found.cost_usd - priced.cost_usd,
                found.cost_low_usd - coalesce(priced.cost_low_usd, priced.cost_usd),
                found.cost_high_usd - coalesce(priced.cost_high_usd, priced.cost_usd)
            )
        ELSE 0
    END AS low_usd,
    found.cost_usd - priced.cost_usd AS high_usd,
    NULL::BIGINT AS tokens
FROM downsize_calls AS found
JOIN downsize_prices AS priced ON priced.node = found.node
WHERE priced.cost_usd IS NOT NULL AND candidate IN (SELECT unnest($candidates))

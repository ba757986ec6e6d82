-- What a call would have cost less without the words that carry little in all of its judged sections (finding.CLAIMS).
-- Fractions are added in order: in another one the last digits of their sum differ.
SELECT
    to_json([agent, service, pricing_mode])::VARCHAR AS candidate,
    call_id,
    coalesce(sum(low_usd ORDER BY section), 0)::DECIMAL(38, 12) AS low_usd,
    sum(high_usd ORDER BY section)::DECIMAL(38, 12) AS high_usd,
    floor(sum(little_tokens ORDER BY section) + 1e-6)::BIGINT AS tokens
FROM bloat_shares
GROUP BY agent, service, pricing_mode, call_id
HAVING sum(high_usd) > 0 OR sum(little_tokens) >= 1

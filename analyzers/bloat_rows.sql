-- One row per agent (service where none is known), section and pricing mode, those with most to leave out first.
-- Fractions are added in order: in another one the last digits of their sum differ.
SELECT
    to_json([shares.agent, shares.service, shares.pricing_mode])::VARCHAR AS candidate,
    shares.agent,
    shares.service,
    judged.role,
    shares.section,
    shares.pricing_mode,
    count(*) AS calls,
    any_value(judged.words) AS words,
    any_value(judged.little) AS little,
    any_value(judged.passages) AS passages,
    round(sum(shares.tokens ORDER BY call_id))::BIGINT AS tokens,
    round(sum(shares.little_tokens ORDER BY call_id))::BIGINT AS little_tokens,
    sum(shares.high_usd ORDER BY call_id)::DECIMAL(38, 12) AS high_usd
FROM bloat_shares AS shares
JOIN bloat_judged AS judged
  ON judged.agent IS NOT DISTINCT FROM shares.agent
 AND judged.service IS NOT DISTINCT FROM shares.service
 AND judged.section = shares.section
GROUP BY shares.agent, shares.service, judged.role, shares.section, shares.pricing_mode
ORDER BY
    high_usd DESC NULLS LAST, little_tokens DESC NULLS LAST,
    shares.agent NULLS LAST, shares.service NULLS LAST, shares.section, shares.pricing_mode

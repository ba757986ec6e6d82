-- What each call sends of text that carries little, in tokens and USD: by characters its part of the call's own input.
-- Nobody knows which tokens were read from the cache: `low` takes them for the cheapest of the call's input, `high` for
-- the dearest, and never for more than the input cost. `low` is of whole passages alone, `high` of all such words.
WITH prompts AS (
    SELECT call_id, sum(chars) AS chars
    FROM bloat_sections
    GROUP BY call_id
),

rates AS (
    SELECT
        *,
        CASE WHEN new_tokens > 0 THEN cost_input_usd::DOUBLE / new_tokens END AS new_rate,
        CASE WHEN cache_read_tokens > 0 THEN cost_cache_read_usd::DOUBLE / cache_read_tokens END AS read_rate,
        CASE WHEN cache_write_tokens > 0 THEN cost_cache_write_usd::DOUBLE / cache_write_tokens END AS write_rate,
        cost_input_usd + coalesce(cost_cache_read_usd, 0) + coalesce(cost_cache_write_usd, 0) AS input_usd
    FROM bloat_calls
)

SELECT
    sections.call_id,
    calls.agent,
    calls.service,
    calls.pricing_mode,
    sections.section,
    sections.chars / prompts.chars * calls.input_tokens AS tokens,
    judged.little * tokens AS little_tokens,
    judged.passages * tokens AS passage_tokens,
    passage_tokens * least(new_rate, read_rate, write_rate) AS low_usd,
    least(little_tokens * greatest(new_rate, read_rate, write_rate), judged.little * input_usd::DOUBLE) AS high_usd
FROM (
    SELECT call_id, section, sum(chars) AS chars
    FROM bloat_sections
    GROUP BY call_id, section
) AS sections
JOIN prompts ON prompts.call_id = sections.call_id
JOIN rates AS calls ON calls.call_id = sections.call_id
JOIN bloat_judged AS judged
  ON judged.agent IS NOT DISTINCT FROM calls.agent
 AND judged.service IS NOT DISTINCT FROM calls.service
 AND judged.section = sections.section

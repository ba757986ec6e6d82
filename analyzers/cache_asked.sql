-- Calls long enough to be cached, with what they asked and what caching costs there. `flagged`: the groups with their rules
-- (cache_figures.py), `told`: what calls asked (prompts.py). `rates`: cache_rates.sql.
WITH rates AS (
{rates}
)

SELECT
    row_number() OVER ()::INTEGER AS id,
    flagged.number,
    call.call_id,
    call.tenant,
    call.start_time,
    call.start_time + to_microseconds((coalesce(call.duration_ns, 0) // 1000)::BIGINT) AS end_time,
    call.input_tokens::INTEGER AS input,
    least(coalesce(call.cache_read_tokens, 0), call.input_tokens)::INTEGER AS read,
    coalesce(call.cache_write_tokens, 0)::INTEGER AS written,
    flagged.min_tokens,
    flagged.on_request,
    CASE WHEN rates.read_usd < rates.input_usd THEN rates.input_usd - rates.read_usd END AS gain_usd,
    greatest(rates.write_usd - rates.input_usd, 0) AS premium_usd,
    CASE WHEN flagged.on_request THEN rates.hour_usd - rates.input_usd ELSE 0 END AS longer_premium_usd,
    told.bytes,
    told.parts,
    told.prefixes,
    told.texts,
    told.ends
FROM calls AS call
JOIN flagged
  ON flagged.provider IS NOT DISTINCT FROM call.provider
 AND flagged.model IS NOT DISTINCT FROM coalesce(call.response_model, call.request_model)
 AND flagged.agent IS NOT DISTINCT FROM call.agent_name
 AND flagged.pricing_mode = call.pricing_mode
JOIN told ON told.call_id = call.call_id
LEFT JOIN rates
  ON rates.price_id = CASE WHEN call.cost_usd IS NOT NULL THEN call.price_id END
 AND call.input_tokens > CASE WHEN tier_start = 0 THEN -1 ELSE tier_start END
 AND call.input_tokens <= tier_end
WHERE call.start_time >= $start
  AND call.start_time < $end
  AND call.input_tokens BETWEEN flagged.min_tokens AND 2000000000
  AND told.bytes > 0

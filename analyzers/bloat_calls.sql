-- Calls whose prompts were captured, `$most_prompts` of them at most, drawn evenly; `all_calls` is how many there are.
SELECT
    call_id,
    tenant,
    trace_id,
    span_id,
    agent_name AS agent,
    CASE WHEN agent_name IS NULL THEN service_name END AS service,
    pricing_mode,
    hash(tenant, coalesce(session_id, trace_id)) AS thread,
    input_tokens,
    input_tokens - coalesce(cache_read_tokens, 0) - coalesce(cache_write_tokens, 0) AS new_tokens,
    cache_read_tokens,
    cache_write_tokens,
    cost_input_usd,
    cost_cache_read_usd,
    cost_cache_write_usd,
    count(*) OVER () AS all_calls
FROM calls
SEMI JOIN (
    SELECT tenant, trace_id, span_id
    FROM contents
    WHERE kind = 'prompts'
      AND start_time >= $start - INTERVAL 1 HOUR AND start_time < $end + INTERVAL 1 HOUR
) USING (tenant, trace_id, span_id)
WHERE start_time >= $start AND start_time < $end AND role = 'llm'
QUALIFY row_number() OVER (ORDER BY md5(call_id), call_id) <= $most_prompts

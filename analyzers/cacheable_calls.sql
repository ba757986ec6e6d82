calls.role = 'llm'
AND calls.status_code <> 'ERROR'
AND calls.batch IS NOT TRUE
AND coalesce(calls.cache_read_tokens, calls.cache_write_tokens) IS NOT NULL
AND calls.input_tokens >= (SELECT min(min_tokens) FROM flagged)
AND hash(calls.provider, coalesce(calls.response_model, calls.request_model), calls.agent_name, calls.pricing_mode)
    IN (SELECT hash(provider, model, agent, pricing_mode) FROM flagged)

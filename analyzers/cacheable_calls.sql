calls.role = 'llm'
AND calls.status_code <> 'ERROR'
AND calls.batch IS NOT TRUE
AND coalesce(calls.cache_read_tokens, calls.cache_write_tokens) IS NOT NULL
AND EXISTS (
    FROM flagged
    WHERE flagged.provider IS NOT DISTINCT FROM calls.provider
        AND flagged.model IS NOT DISTINCT FROM coalesce(calls.response_model, calls.request_model)
        AND flagged.agent IS NOT DISTINCT FROM calls.agent_name
        AND flagged.pricing_mode = calls.pricing_mode
        AND calls.input_tokens >= flagged.min_tokens
)

-- Models that the price list does not know, those with most calls first. What a call names may be anything.
SELECT
    provider,
    coalesce(response_model, request_model) AS model,
    count(*) AS calls,
    sum(input_tokens)::BIGINT AS input_tokens,
    sum(output_tokens)::BIGINT AS output_tokens,
    min(call_id, $examples) AS examples
FROM calls
WHERE start_time >= $start AND start_time < $end AND cost_note = 'unknown_model'
GROUP BY ALL
ORDER BY calls DESC, provider NULLS LAST, model

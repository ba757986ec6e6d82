-- The ways in which calls that were answered name their model, those with most calls first: calls whose cost and usage are
-- known, and calls of which something is not. Local calls cost nothing that is known.
SELECT
    provider,
    response_model,
    request_model,
    count(*) FILTER ({is_known}) AS calls,
    count(*) FILTER (
        pricing_mode <> 'local' AND (cost_usd IS NULL OR input_tokens IS NULL OR output_tokens IS NULL)
    ) AS unknown_calls
FROM calls
WHERE start_time >= $start AND start_time < $end AND role = 'llm' AND status_code <> 'ERROR'
GROUP BY ALL
ORDER BY calls DESC, provider NULLS LAST, response_model NULLS LAST, request_model NULLS LAST

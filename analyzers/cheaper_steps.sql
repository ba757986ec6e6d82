-- The ways in which calls of `cheaper_named` name their model, those with most calls first.
SELECT
    provider,
    response_model,
    request_model,
    sum(calls)::BIGINT AS calls,
    sum(unknown_calls)::BIGINT AS unknown_calls
FROM cheaper_named
GROUP BY provider, response_model, request_model
ORDER BY calls DESC, provider NULLS LAST, response_model NULLS LAST, request_model NULLS LAST

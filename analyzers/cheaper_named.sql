-- What calls that were answered come to, by whose they are and how they name their model: calls whose cost and usage are
-- known, and calls of which something is not. Local calls cost nothing that is known. `traits` and `figures` of the former
-- are an analyzer's own. One look at all calls serves cheaper_steps.sql and cheaper_groups.sql.
WITH answered AS (
    SELECT
        agent_name AS agent,
        CASE WHEN agent_name IS NULL THEN service_name END AS service,
        provider,
        response_model,
        request_model,
        pricing_mode,
        cost_usd,
        {is_known} AS is_known,
        pricing_mode <> 'local' AND (cost_usd IS NULL OR input_tokens IS NULL OR output_tokens IS NULL) AS is_unknown,
        {traits}
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND role = 'llm' AND status_code <> 'ERROR'
)
SELECT
    agent,
    service,
    provider,
    response_model,
    request_model,
    pricing_mode,
    count(*) FILTER (is_known) AS calls,
    count(*) FILTER (is_unknown) AS unknown_calls,
    sum(cost_usd) FILTER (is_known) AS cost_usd,
    {figures}
FROM answered
GROUP BY agent, service, provider, response_model, request_model, pricing_mode

-- What each router chose by what it was told: one row per router and mode, the models that were called most first.
SELECT
    number,
    any_value(agent) AS agent,
    any_value(service) AS service,
    any_value(pricing_mode) AS pricing_mode,
    mode,
    sum(calls)::BIGINT AS calls,
    sum(cost_usd) AS cost_usd,
    list(model ORDER BY calls DESC, model) AS models,
    max(examples, 5) AS examples
FROM (
    SELECT
        number, agent, service, pricing_mode, mode, model,
        count(*) AS calls,
        sum(cost_usd) AS cost_usd,
        max({'usd': cost_usd, 'call_id': call_id}) AS examples
    FROM routing_modes
    GROUP BY ALL
)
GROUP BY number, mode
ORDER BY number, calls DESC, mode

-- Agents (services where no agent is known) and models of which enough calls, or enough of the cost, may be claimed, as far
-- as single calls tell: one row per way in which their calls name the model. `downsize_steps` is from cheaper_models.py.
WITH
named AS (
    SELECT
        agent_name AS agent,
        CASE WHEN agent_name IS NULL THEN service_name END AS service,
        provider,
        response_model,
        request_model,
        pricing_mode,
        count(*) AS calls,
        sum(cost_usd) AS cost_usd,
        count(*) FILTER ({is_little}) AS little_calls,
        count(*) FILTER ({is_long}) AS long_calls,
        sum(cost_usd) FILTER ({is_long}) AS long_usd
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND {is_known}
    GROUP BY ALL
),
groups AS (
    SELECT
        agent,
        service,
        named.provider,
        model,
        cheaper,
        pricing_mode,
        sum(calls) AS calls,
        sum(cost_usd) AS cost_usd,
        row_number() OVER (ORDER BY agent, service, named.provider, model, cheaper, pricing_mode) AS number
    FROM named
    JOIN downsize_steps AS steps
      ON steps.provider IS NOT DISTINCT FROM named.provider
     AND steps.response_model IS NOT DISTINCT FROM named.response_model
     AND steps.request_model IS NOT DISTINCT FROM named.request_model
    GROUP BY agent, service, named.provider, model, cheaper, pricing_mode
    HAVING sum(little_calls) >= greatest($least_calls, $least_share::DOUBLE * sum(calls))
        OR (sum(long_calls) >= $least_calls AND sum(long_usd)::DOUBLE >= $least_share::DOUBLE * sum(cost_usd)::DOUBLE)
)
SELECT groups.*, steps.response_model, steps.request_model, steps.sent
FROM groups
JOIN downsize_steps AS steps
  ON steps.provider IS NOT DISTINCT FROM groups.provider
 AND steps.model = groups.model
 AND steps.cheaper = groups.cheaper

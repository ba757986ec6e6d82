-- The calls of agents (services where no agent is known) that choose between several models by what `mode` says, as they
-- are priced.
WITH told AS (
    SELECT
        calls.call_id,
        calls.agent_name AS agent,
        CASE WHEN calls.agent_name IS NULL THEN calls.service_name END AS service,
        calls.pricing_mode,
        {mode}::VARCHAR AS mode,
        coalesce(calls.response_model, calls.request_model) AS model,
        calls.cost_usd,
        calls.response_model,
        calls.request_model,
        {priced_by}
    FROM calls
    {join}
    WHERE calls.start_time >= $start AND calls.start_time < $end AND {is_known} AND {mode} IS NOT NULL
),
routers AS (
    SELECT
        agent,
        service,
        pricing_mode,
        row_number() OVER (ORDER BY sum(cost_usd) DESC, agent, service, pricing_mode) AS number
    FROM told
    GROUP BY agent, service, pricing_mode
    HAVING count(DISTINCT mode) > 1 AND count(DISTINCT model) > 1 AND count(*) >= $least_calls
)
SELECT row_number() OVER () AS node, routers.number, told.*
FROM told
JOIN routers
  ON routers.agent IS NOT DISTINCT FROM told.agent
 AND routers.service IS NOT DISTINCT FROM told.service
 AND routers.pricing_mode = told.pricing_mode
WHERE routers.number <= $most_routers

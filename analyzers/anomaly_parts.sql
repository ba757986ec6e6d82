-- What days are made of: a part is what one session (trace, call) cost on a day by one agent, model and user. Days are
-- counted from the start of the history (day_sql in window.py). Calls without a known cost are in no sum.
SELECT
    pricing_mode,
    agent,
    model,
    user_id,
    day,
    any_value(tenant) AS tenant,
    any_value(session_id) AS session_id,
    sum(cost_usd) AS cost_usd,
    count(*) AS calls,
    avg(cost_usd) AS call_usd
FROM (
    SELECT
        pricing_mode, agent_name AS agent, coalesce(response_model, request_model) AS model, user_id, {day} AS day,
        tenant, session_id, cost_usd,
        hash(tenant, coalesce(session_id, trace_id, call_id)) AS session
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND cost_usd > 0
)
GROUP BY pricing_mode, agent, model, user_id, day, session

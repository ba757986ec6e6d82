-- First calls of an agent in a session (a trace where there is none) that asked what others had asked before: all calls of
-- such a plan but those that began before one of it had ended. `asked_again` is from asked_again.sql, `cache_lookups`
-- from cache_lookups.sql; at least $least_sessions sessions begin with the same prompt.
WITH asked AS MATERIALIZED (
    SELECT
        calls.call_id,
        calls.tenant,
        calls.agent_name AS agent,
        CASE WHEN calls.agent_name IS NULL THEN calls.service_name END AS service,
        coalesce(calls.request_model, calls.response_model) AS model,
        calls.pricing_mode,
        asked_again.hash AS prompt,
        asked_again.told_by,
        hash(calls.tenant, coalesce(calls.session_id, calls.trace_id)) AS place,
        calls.user_id,
        calls.start_time,
        calls.start_time + to_microseconds(greatest(coalesce(calls.duration_ns, 0) // 1000, 1)) AS end_time,
        calls.output_tokens,
        calls.input_tokens + coalesce(calls.output_tokens, 0) AS tokens,
        calls.cost_usd
    FROM calls
    JOIN asked_again ON asked_again.call_id = calls.call_id
    WHERE calls.start_time >= $start AND calls.start_time < $end AND calls.role = 'llm'
      AND calls.status_code <> 'ERROR' AND NOT calls.possible_duplicate
      AND calls.call_id NOT IN (SELECT call_id FROM cache_lookups WHERE is_hit AND call_id IS NOT NULL)
      AND coalesce(calls.session_id, calls.trace_id) IS NOT NULL
),

-- Whatever was asked first, be it known or not.
beginnings AS (
    SELECT
        hash(tenant, coalesce(session_id, trace_id)) AS place,
        agent_name AS agent,
        min(start_time) AS start_time
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND role = 'llm' AND status_code <> 'ERROR'
      AND hash(tenant, coalesce(session_id, trace_id)) IN (SELECT place FROM asked)
    GROUP BY ALL
),

-- Of several that begin at once, one.
first_calls AS (
    SELECT asked.*
    FROM asked
    JOIN beginnings
      ON beginnings.place = asked.place
     AND beginnings.agent IS NOT DISTINCT FROM asked.agent
     AND beginnings.start_time = asked.start_time
    QUALIFY row_number() OVER (PARTITION BY asked.place, asked.agent ORDER BY asked.call_id) = 1
),

planned AS (
    SELECT
        *,
        count(*) OVER told AS group_calls,
        sum(cost_usd) OVER told AS group_usd,
        count(*) OVER plan AS plan_calls,
        first_value(end_time) OVER (plan ORDER BY end_time, call_id) AS first_end,
        first_value(output_tokens) OVER (plan ORDER BY end_time, call_id) AS first_output,
        first_value(user_id) OVER (plan ORDER BY end_time, call_id) AS first_user
    FROM first_calls
    WINDOW
        told AS (PARTITION BY agent, service, model, pricing_mode, prompt),
        plan AS (PARTITION BY tenant, agent, service, model, pricing_mode, prompt)
)

SELECT
    to_json([agent, service, model, pricing_mode, prompt])::VARCHAR AS candidate,
    call_id, agent, service, model, pricing_mode, prompt, told_by, place,
    coalesce(output_tokens = first_output, FALSE) AS is_same,
    coalesce(user_id <> first_user, FALSE) AS is_other,
    cost_usd, tokens, group_calls, group_usd
FROM planned
WHERE plan_calls >= $least_sessions AND start_time >= first_end

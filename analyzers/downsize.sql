-- The calls of downsize_groups.sql that a cheaper model of the same family may serve, as they are priced by that model:
--   small     little in, little out, in a run of few tool calls; sure where every call of the run is little
--   context   what is sent again and again makes the cost; sure where little is answered
-- A run is what an agent does in a session, or in a trace where there is none: hashes stand for them.
WITH
-- All that these agents do tells what a run is like.
window_calls AS MATERIALIZED (
    SELECT
        agent_name AS agent,
        CASE WHEN trace_id IS NOT NULL THEN hash(tenant, trace_id) END AS trace,
        {run} AS run,
        hash(run, agent_name) AS agent_run,
        status_code = 'ERROR' AS failed,
        coalesce({is_little}, FALSE) AS is_little,
        coalesce({is_long}, FALSE) AS is_long,
        coalesce(
            finish_reasons[1] IN ('tool_calls', 'tool_use', 'tool-calls', 'tool_call', 'function_call'), FALSE
        ) AS asks_for_tool
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND role = 'llm'
      AND coalesce(agent_name, '') IN (SELECT coalesce(agent, '') FROM downsize_groups)
),
runs AS (
    SELECT
        agent_run,
        any_value(run) AS run,
        any_value(agent) AS agent,
        bool_and(is_little OR failed) AS is_all_little,
        count(*) FILTER (is_long AND NOT failed) AS long_calls,
        count(*) FILTER (asks_for_tool) AS asked_for_tools
    FROM window_calls
    GROUP BY agent_run
),

-- The same tool call may be known by a span and by a log record. One that names no agent may be any agent's.
tools AS (
    SELECT tenant, trace_id, session_id, agent_name, FALSE AS is_log
    FROM spans
    WHERE start_time >= $start AND start_time < $end AND role = 'tool'
    UNION ALL
    SELECT tenant, trace_id, session_id, agent_name, TRUE AS is_log
    FROM log_records
    WHERE time >= $start AND time < $end AND role = 'tool'
),
traces AS (
    SELECT trace, min(run) AS run
    FROM window_calls
    WHERE trace IS NOT NULL
    GROUP BY trace
),
run_tools AS (
    SELECT
        coalesce(traces.run, hash(tools.tenant, tools.session_id, NULL::VARCHAR, NULL::VARCHAR)) AS run,
        tools.agent_name AS agent,
        greatest(count(*) FILTER (is_log), count(*) FILTER (NOT is_log)) AS tool_calls
    FROM tools
    LEFT JOIN traces ON traces.trace = hash(tools.tenant, tools.trace_id)
    GROUP BY ALL
),
recorded_tools AS (
    SELECT runs.agent_run, sum(run_tools.tool_calls) AS tool_calls
    FROM runs
    JOIN run_tools
      ON run_tools.run = runs.run
     AND (run_tools.agent IS NULL OR runs.agent IS NULL OR run_tools.agent = runs.agent)
    GROUP BY runs.agent_run
),
judged_runs AS (
    SELECT
        runs.agent_run,
        runs.is_all_little,
        runs.long_calls > 1 AS is_read_again,
        greatest(runs.asked_for_tools, coalesce(recorded_tools.tool_calls, 0)) <= $max_tool_calls AS has_few_tools
    FROM runs
    LEFT JOIN recorded_tools ON recorded_tools.agent_run = runs.agent_run
)

SELECT
    row_number() OVER () AS node,
    groups.number,
    {is_little} AS is_small,
    CASE WHEN is_small THEN judged_runs.is_all_little ELSE calls.output_tokens < $max_output_tokens END AS is_sure,
    judged_runs.agent_run,
    calls.call_id,
    groups.sent AS response_model,
    groups.sent AS request_model,
    calls.cost_usd,
    coalesce(calls.cost_low_usd, calls.cost_usd) AS cost_low_usd,
    coalesce(calls.cost_high_usd, calls.cost_usd) AS cost_high_usd,
    {priced_by}
FROM calls
JOIN downsize_groups AS groups
  ON groups.agent IS NOT DISTINCT FROM calls.agent_name
 AND groups.service IS NOT DISTINCT FROM CASE WHEN calls.agent_name IS NULL THEN calls.service_name END
 AND groups.provider IS NOT DISTINCT FROM calls.provider
 AND groups.response_model IS NOT DISTINCT FROM calls.response_model
 AND groups.request_model IS NOT DISTINCT FROM calls.request_model
 AND groups.pricing_mode = calls.pricing_mode
JOIN judged_runs ON judged_runs.agent_run = hash({run}, calls.agent_name)
WHERE calls.start_time >= $start AND calls.start_time < $end AND {is_known} AND ({is_little} OR {is_long})
  AND CASE
      WHEN {is_little} THEN judged_runs.has_few_tools
      ELSE {is_long} AND judged_runs.is_read_again
  END

-- CTEs that follow `window_calls` (trace, run): which tool calls stand in which run, and what they come to (`figures`).
-- The same tool call may be known by a span and by a log record. One that names no agent may be any agent's.
tools AS (
    SELECT tenant, trace_id, session_id, agent_name, start_time, FALSE AS is_log
    FROM spans
    WHERE start_time >= $start AND start_time < $end AND role = 'tool'
    UNION ALL
    SELECT tenant, trace_id, session_id, agent_name, time AS start_time, TRUE AS is_log
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
        {figures}
    FROM tools
    LEFT JOIN traces ON traces.trace = hash(tools.tenant, tools.trace_id)
    GROUP BY ALL
)

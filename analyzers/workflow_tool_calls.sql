-- The tool calls of sessions (traces where there is none) that may be alike: as many sessions of an agent (service where no
-- single agent is known) as asked for use the same tools equally often, whatever the order. One row at least, for `sessions`
-- and `long_sessions` stand in each: with `thread` NULL where nothing is alike.
WITH
window_calls AS MATERIALIZED (
    SELECT
        CASE WHEN session_id IS NOT NULL OR trace_id IS NOT NULL THEN hash(tenant, coalesce(session_id, trace_id)) END
            AS thread,
        CASE WHEN trace_id IS NOT NULL THEN hash(tenant, trace_id) END AS trace,
        agent_name AS agent,
        service_name AS service
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND role = 'llm'
),

threads AS (
    SELECT
        thread,
        CASE WHEN min(agent) = max(agent) THEN min(agent) END AS agent,
        CASE WHEN (min(agent) = max(agent)) IS NOT TRUE AND min(service) = max(service) THEN min(service) END AS service
    FROM window_calls
    WHERE thread IS NOT NULL
    GROUP BY thread
),

tool_spans AS (
    SELECT
        hash(tenant, session_id) AS session, session_id IS NOT NULL AS has_session, hash(tenant, trace_id) AS trace,
        hash(tenant, trace_id, span_id, tool_name) AS place, hash(tenant, trace_id, parent_span_id, tool_name) AS within,
        hash(tenant, trace_id, span_id, start_time) AS record,
        tool_name, agent_name AS own_agent, start_time, coalesce(duration_ns, 0) // 1000 AS duration_us
    FROM spans
    WHERE role = 'tool' AND tool_name IS NOT NULL AND start_time >= $start AND start_time < $end
),

records AS (
    -- What a library and the protocol below it both report of one tool call lies within each other.
    SELECT * EXCLUDE (place, within), FALSE AS is_log
    FROM tool_spans
    WHERE within NOT IN (SELECT place FROM tool_spans)
    UNION ALL
    SELECT
        hash(tenant, session_id), session_id IS NOT NULL, hash(tenant, trace_id), hash(tenant, trace_id, span_id, time),
        tool_name, agent_name, time, 0, TRUE
    FROM log_records
    WHERE role = 'tool' AND tool_name IS NOT NULL AND time >= $start AND time < $end
      AND (session_id IS NOT NULL OR trace_id IS NOT NULL)
),

-- For tool calls that do not say it.
trace_threads AS (
    SELECT trace, min(thread) AS thread
    FROM window_calls
    WHERE trace IN (SELECT trace FROM records WHERE NOT has_session)
    GROUP BY trace
    HAVING min(thread) = max(thread)
),

tools AS MATERIALIZED (
    SELECT
        CASE WHEN has_session THEN session ELSE coalesce(trace_threads.thread, records.trace) END AS thread,
        records.* EXCLUDE (session, has_session, trace)
    FROM records
    LEFT JOIN trace_threads ON trace_threads.trace = records.trace AND NOT has_session
),

-- Of a session that has both, its spans count. `bag`: the same for the same tools in any order. `whose`: of which agent
-- or service, in one number; joined by their names, each tool call met those of all agents that use the same tool.
runs AS MATERIALIZED (
    SELECT
        thread,
        threads.agent,
        threads.service,
        hash(threads.agent, threads.service) AS whose,
        bool_and(is_log) AS by_logs,
        coalesce(nullif(count(*) FILTER (NOT is_log), 0), count(*)) AS steps,
        coalesce(sum(hash(tool_name)) FILTER (NOT is_log), sum(hash(tool_name))) AS bag
    FROM tools
    JOIN threads USING (thread)
    GROUP BY thread, threads.agent, threads.service
),

run_tools AS (
    SELECT tools.* EXCLUDE (is_log), agent, service, whose, bag, hash(whose, tool_name) AS use
    FROM tools
    JOIN runs ON runs.thread = tools.thread AND runs.by_logs = tools.is_log
),

-- How likely each tool is the next one of an agent, or no further one.
uses AS (
    SELECT use, count(*) AS uses
    FROM run_tools
    GROUP BY use
),

agents AS (
    SELECT whose, count(*) AS sessions, sum(steps) + sessions AS uses
    FROM runs
    GROUP BY whose
),

bags AS (
    SELECT whose, bag, count(*) AS alike, min(thread) AS thread
    FROM runs
    GROUP BY whose, bag
    HAVING alike >= $least_sessions AND min(steps) BETWEEN $least_steps AND $most_steps
),

-- `by_chance`: so many sessions of an agent come to one order of these tools, if each is chosen without regard to others.
chances AS (
    SELECT
        bags.whose,
        bags.bag,
        any_value(bags.alike) AS alike,
        any_value(agents.sessions) AS agent_sessions,
        any_value(agents.sessions * agents.sessions / agents.uses) * exp(sum(ln(uses.uses / agents.uses))) AS by_chance
    FROM bags
    JOIN run_tools ON run_tools.thread = bags.thread
    JOIN agents ON agents.whose = bags.whose
    JOIN uses ON uses.use = run_tools.use
    GROUP BY bags.whose, bags.bag
),

found AS (
    SELECT run_tools.* EXCLUDE (whose, bag, use), agent_sessions, by_chance
    FROM run_tools
    JOIN chances ON chances.whose = run_tools.whose AND chances.bag = run_tools.bag
    WHERE alike >= $times_chance * by_chance
)

SELECT whole.*, found.*
FROM (SELECT count(*) AS sessions, count(*) FILTER (steps > $most_steps) AS long_sessions FROM runs) AS whole
LEFT JOIN found ON TRUE

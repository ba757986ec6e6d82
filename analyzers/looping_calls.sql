-- Calls that asked for the same tool again and again: `$loop_same` of the last `$loop_of` tool calls of a session (or
-- trace) and agent are the same. One row per call all of whose tool calls repeat an earlier one of such a loop, and one
-- per call that is only suspected of it (`arguments` NULL): the names repeat, and nobody recorded with what arguments.
--
-- The same means the same name, and of the arguments what is known: 'equal', where their text was captured; 'length',
-- where all that was taken from both tool calls, arguments and results, has the same lengths; 'failed', where no more is
-- known than that both failed.
WITH window_calls AS NOT MATERIALIZED (
    SELECT
        call_id, tenant, trace_id, session_id,
        coalesce(session_id, trace_id) AS thread,
        agent_name AS agent,
        coalesce(request_model, response_model) AS model,
        pricing_mode, start_time, cost_usd,
        input_tokens + coalesce(output_tokens, 0) AS tokens
    FROM calls
    WHERE start_time >= $start AND start_time < $end
),

tool_calls AS NOT MATERIALIZED (
    SELECT
        tenant, session_id, agent_name, trace_id, span_id, start_time, tool_name, status_code = 'ERROR' AS failed, evidence,
        FALSE AS is_log
    FROM spans
    WHERE role = 'tool' AND tool_name IS NOT NULL AND start_time >= $start AND start_time < $end
    UNION ALL
    SELECT
        tenant, session_id, agent_name, trace_id, span_id, time, tool_name, error_type IS NOT NULL, evidence, TRUE
    FROM log_records
    WHERE role = 'tool' AND tool_name IS NOT NULL AND time >= $start AND time < $end
      AND (session_id IS NOT NULL OR trace_id IS NOT NULL)
),

-- For tool calls that do not say it.
trace_sessions AS MATERIALIZED (
    SELECT hash(tenant, trace_id) AS trace, min(session_id) AS session_id
    FROM window_calls
    WHERE trace IN (SELECT hash(tenant, trace_id) FROM tool_calls WHERE session_id IS NULL)
    GROUP BY trace
    HAVING min(session_id) = max(session_id)
),

-- `thread`: of which session, or trace. Here and below, what two rows have in common is a hash.
threaded AS MATERIALIZED (
    SELECT
        tool_calls.* EXCLUDE (evidence),
        evidence ->> '$.gated' AS gated,
        hash(tenant, coalesce(tool_calls.session_id, trace_sessions.session_id, tool_calls.trace_id)) AS thread
    FROM tool_calls
    LEFT JOIN trace_sessions ON trace_sessions.trace = hash(tool_calls.tenant, tool_calls.trace_id)
),

-- Most tool calls never come often enough, which sums tell sooner than an order: of names first, as what is known of
-- arguments takes long to read.
named_often AS MATERIALIZED (
    SELECT *
    FROM threaded
    SEMI JOIN (
        SELECT thread
        FROM threaded
        GROUP BY thread, hash(tool_name), is_log
        HAVING count(*) >= $loop_same
    ) USING (thread)
),

-- Of what reports a tool call by a span and a log record, the spans.
reported AS (
    SELECT *
    FROM named_often
    WHERE NOT is_log OR thread NOT IN (SELECT thread FROM named_often WHERE NOT is_log)
),

captured AS (
    SELECT
        tenant, trace_id, span_id,
        md5(string_agg(key || chr(31) || content, chr(30) ORDER BY key, content)) AS text
    FROM contents
    SEMI JOIN reported USING (tenant, trace_id, span_id)
    WHERE start_time >= $start AND start_time < $end AND kind IN ('tool_inputs', 'prompts')
    GROUP BY tenant, trace_id, span_id
),

lengths AS (
    SELECT
        *,
        -- Only of arguments: the schema of a tool is always as long.
        CASE WHEN regexp_matches(gated, '"[^"]*(arg|input|param|prompt)[^"]*":') THEN gated END AS lengths
    FROM reported
),

tools AS MATERIALIZED (
    SELECT
        lengths.tenant, lengths.trace_id, lengths.span_id, start_time, thread, tool_name,
        agent_name AS own_agent,
        CASE
            WHEN captured.text IS NOT NULL THEN 'equal'
            WHEN lengths IS NOT NULL THEN 'length'
            WHEN failed THEN 'failed'
        END AS arguments,
        hash(tool_name, arguments, coalesce(captured.text, lengths)) AS same
    FROM lengths
    -- What stands at the ids of a log record is of its span.
    LEFT JOIN captured
      ON captured.tenant = lengths.tenant
     AND captured.trace_id = lengths.trace_id
     AND captured.span_id = lengths.span_id
     AND NOT lengths.is_log
),

candidates AS MATERIALIZED (
    SELECT *
    FROM tools
    SEMI JOIN (
        SELECT thread
        FROM tools
        GROUP BY thread, same
        HAVING count(*) >= $loop_same
    ) USING (thread)
),

-- Under its own agent and under none: tool spans need not say whose they are. Of several that begin at once, one.
asking AS MATERIALIZED (
    SELECT hash(thread, of_agent) AS whose, start_time, min(call_id) AS call_id, arg_min(agent, call_id) AS agent
    FROM (
        SELECT call_id, thread, agent, start_time, unnest([coalesce(agent, ''), '']) AS of_agent
        FROM (SELECT * REPLACE (hash(tenant, thread) AS thread) FROM window_calls)
        SEMI JOIN candidates USING (thread)
    )
    GROUP BY ALL
),

-- Whose tool call it is: the latest call before it. `place`: where tool calls follow each other.
asked AS MATERIALIZED (
    SELECT
        tools.*,
        asking.call_id,
        hash(tools.thread, asking.agent) AS place
    FROM (
        SELECT
            thread, tool_name, arguments, same, start_time, trace_id, span_id,
            CASE WHEN hash(thread, own_agent) IN (SELECT whose FROM asking)
                THEN hash(thread, own_agent)
                ELSE hash(thread, '')
            END AS whose
        FROM candidates
    ) AS tools
    ASOF JOIN asking ON asking.whose = tools.whose AND asking.start_time <= tools.start_time
),

often AS (
    SELECT place, same
    FROM asked
    GROUP BY place, same
    HAVING count(*) >= $loop_same
),

positions AS (
    SELECT *, row_number() OVER (PARTITION BY place ORDER BY start_time, trace_id, span_id, same) AS position
    FROM asked
    SEMI JOIN often USING (place)
),

seen AS (
    SELECT
        *,
        coalesce(lag(position, $loop_same - 1) OVER alike > position - $loop_of, FALSE) AS is_seen
    FROM positions
    SEMI JOIN often USING (place, same)
    WINDOW alike AS (PARTITION BY place, same ORDER BY position)
),

looping AS (
    SELECT
        *,
        coalesce(lag(is_seen) OVER alike, FALSE) AND is_seen AS was_seen,
        bool_or(is_seen) OVER (
            PARTITION BY place, same ORDER BY position ROWS BETWEEN CURRENT ROW AND $loop_same - 1 FOLLOWING
        ) AS is_in_loop
    FROM seen
    WINDOW alike AS (PARTITION BY place, same ORDER BY position)
),

repeating AS (
    SELECT *, is_in_loop AND coalesce(lag(is_in_loop) OVER alike, FALSE) AS is_repeat
    FROM looping
    WINDOW alike AS (PARTITION BY place, same ORDER BY position)
),

-- A call that also asked for something new did something.
by_call AS (
    SELECT
        call_id,
        min(tool_name) AS tool,
        count(*) AS tool_calls,
        bool_and(was_seen) AS was_seen,
        -- What is known least of.
        CASE
            WHEN bool_or(arguments IS NULL) THEN NULL
            WHEN bool_or(arguments = 'failed') THEN 'failed'
            WHEN bool_or(arguments = 'length') THEN 'length'
            ELSE 'equal'
        END AS arguments
    FROM repeating
    WHERE is_repeat
    GROUP BY call_id
    HAVING count(*) = (SELECT count(*) FROM asked WHERE asked.call_id = repeating.call_id)
)

SELECT
    to_json(['loop', window_calls.agent, by_call.tool, window_calls.pricing_mode])::VARCHAR AS candidate,
    window_calls.call_id,
    window_calls.agent,
    window_calls.model,
    window_calls.pricing_mode,
    window_calls.cost_usd,
    window_calls.tokens,
    window_calls.thread,
    by_call.tool,
    by_call.tool_calls,
    by_call.arguments,
    -- A loop can be cut once it is seen, and only equal arguments make it sure.
    by_call.was_seen AND coalesce(by_call.arguments = 'equal', FALSE) AS is_sure
FROM by_call
JOIN window_calls USING (call_id)

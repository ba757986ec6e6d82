-- The steps of sessions that make the same tool calls, with arguments of the same shape, in the same order: a row per tool
-- call. `number` is that of the workflow; `arguments` is equal for equal arguments, NULL where they were not captured.
WITH
documents AS (
    SELECT hash(tenant, trace_id, span_id, start_time) AS record, kind, key, content
    FROM contents
    WHERE start_time >= $start AND start_time < $end
      -- Some libraries write a tool's arguments where they write a model's prompt.
      AND ((kind = 'tool_inputs' AND key <> 'tool.parameters' AND key NOT LIKE '%schema')
        OR (kind = 'prompts' AND key IN ('input.value', 'gen_ai.prompt', 'traceloop.entity.input')))
      AND record IN (SELECT record FROM workflow_tool_calls)
    QUALIFY kind = 'tool_inputs' OR bool_and(kind = 'prompts') OVER (PARTITION BY record)
),

given AS (
    SELECT record, argument.key AS name, argument.type, argument.value ->> '$' AS value
    FROM (
        SELECT record, content
        FROM documents
        WHERE json_valid(content) AND json_type(content) = 'OBJECT'
    ), json_each(content) AS argument
    WHERE argument.type <> 'NULL'
    UNION ALL
    SELECT
        record,
        key,
        CASE WHEN json_valid(content) THEN json_type(content) ELSE 'VARCHAR' END,
        CASE WHEN json_valid(content) THEN content ->> '$' ELSE content END
    FROM documents
    WHERE NOT json_valid(content) OR json_type(content) <> 'OBJECT'
),

typed AS (
    SELECT
        record,
        name,
        value,
        CASE
            WHEN type IN ('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE') THEN 'number'
            WHEN type = 'BOOLEAN' THEN 'boolean'
            WHEN type = 'ARRAY' THEN 'array'
            WHEN type = 'OBJECT' THEN 'JSON object'
            WHEN regexp_matches(value, '^\s*[\[{]') AND json_valid(value)
                THEN CASE WHEN json_type(value) = 'ARRAY' THEN 'array' ELSE 'JSON object' END
            -- By what the argument is called, or else by what it looks like.
            WHEN regexp_matches(name, '(?i)(^|[^a-z])(cmd|command|command_?line|script)$')
              OR regexp_matches(value, '^(bash|cargo|chmod|docker|git|grep|kubectl|mkdir|npm|npx|pip|pytest|python3?|sudo|uv) ')
              OR regexp_matches(value, ' (&&|\|\|?) ')
                THEN 'command'
            WHEN (regexp_matches(name, '(?i)(^|[^a-z])(cwd|dir|directory|file|file_?name|file_?path|folder|path)$')
                    AND NOT contains(value, chr(10)))
              -- /a, ./a, ../a, ~/a, C:\a, a/b/c, a/b.c
              OR regexp_matches(value, '^(~|\.{1,2})?/[^\n]*$|^[A-Za-z]:\\[^\n]*$|^[\w.-]+(/[\w.-]+){2,}$|^[\w.-]+/[\w-]+\.\w+$')
                THEN 'file path'
            ELSE 'text'
        END AS type
    FROM given
),

-- The same arguments may be told twice, under one name and another.
shapes AS (
    SELECT
        record,
        string_agg(name || ': ' || type, ', ' ORDER BY name, type) AS shape,
        md5(string_agg(name || chr(31) || value, chr(30) ORDER BY name, value)) AS arguments
    FROM typed
    GROUP BY record
),

-- Under its own agent and under none: tool calls need not say whose they are. Of several that begin at once, one.
asking AS MATERIALIZED (
    SELECT hash(thread, of_agent) AS whose, start_time, min(call_id) AS call_id
    FROM (
        SELECT
            call_id,
            hash(tenant, coalesce(session_id, trace_id)) AS thread,
            start_time,
            unnest([coalesce(agent_name, ''), '']) AS of_agent
        FROM calls
        WHERE start_time >= $start AND start_time < $end AND role = 'llm'
          AND thread IN (SELECT thread FROM workflow_tool_calls)
    )
    GROUP BY ALL
),

-- What begins before another one ends goes on beside it, in no order.
batched AS (
    SELECT
        * EXCLUDE (is_next, own_agent),
        CASE WHEN hash(thread, own_agent) IN (SELECT whose FROM asking) THEN hash(thread, own_agent)
            ELSE hash(thread, '') END AS whose,
        sum(is_next::INTEGER) OVER (PARTITION BY thread ORDER BY start_time, record) AS batch
    FROM (
        SELECT
            *,
            coalesce(
                start_time > max(start_time) OVER before
                AND start_time >= max(start_time + to_microseconds(duration_us)) OVER before,
                FALSE
            ) AS is_next
        FROM workflow_tool_calls
        WINDOW before AS (
            PARTITION BY thread ORDER BY start_time, record ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )
    )
),

-- Whose tool call it is: the latest call before it. An ASOF join is planned as a loop over both sides here.
asked AS (
    SELECT * EXCLUDE (whose)
    FROM (
        SELECT * REPLACE (
            last_value(call_id IGNORE NULLS) OVER (
                PARTITION BY whose ORDER BY start_time, thread IS NOT NULL ROWS UNBOUNDED PRECEDING
            ) AS call_id
        )
        FROM (FROM asking UNION ALL BY NAME FROM batched)
    )
    WHERE thread IS NOT NULL
),

steps AS (
    SELECT
        asked.* EXCLUDE (record, batch, start_time),
        CASE
            WHEN shapes.shape IS NOT NULL THEN tool_name || '(' || shape || ')'
            WHEN documents.record IS NOT NULL THEN tool_name || '()'
            ELSE tool_name
        END AS step,
        coalesce(shapes.arguments, CASE WHEN documents.record IS NOT NULL THEN '' END) AS arguments,
        row_number() OVER (PARTITION BY thread ORDER BY batch, step, arguments, asked.start_time) AS position
    FROM asked
    LEFT JOIN shapes ON shapes.record = asked.record
    LEFT JOIN (SELECT DISTINCT record FROM documents) AS documents ON documents.record = asked.record
),

runs AS (
    SELECT
        thread, agent, service,
        any_value(by_chance) AS by_chance,
        md5(to_json(list(step ORDER BY position))) AS sequence
    FROM steps
    GROUP BY thread, agent, service
),

workflows AS (
    SELECT agent, service, sequence, row_number() OVER (ORDER BY agent, service, sequence) AS number
    FROM runs
    GROUP BY agent, service, sequence
    HAVING count(*) >= $least_sessions AND count(*) >= $times_chance * min(by_chance)
)

SELECT workflows.number, workflows.sequence, steps.*
FROM workflows
JOIN runs
  ON runs.agent IS NOT DISTINCT FROM workflows.agent
 AND runs.service IS NOT DISTINCT FROM workflows.service
 AND runs.sequence = workflows.sequence
JOIN steps ON steps.thread = runs.thread

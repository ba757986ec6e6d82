-- What calls asked that prompts_own.sql does not tell, by hash, in the same columns: through another record that reported
-- them, the messages of log records, or captured text. `told_already` (call_id): those that it tells. `prompt_places`
-- (key, part, source): which keys of `contents` hold a prompt.
--
-- A call's own record goes before the others that reported it, of which the first that tells counts.
WITH window_calls AS (
    SELECT call_id, tenant, trace_id, span_id, members
    FROM calls
    ANTI JOIN told_already USING (call_id)
    WHERE start_time >= $start AND start_time < $end AND {of}
),

-- Records begin before their call or after it.
told_by_spans AS MATERIALIZED (
    SELECT tenant, trace_id, span_id, {hashes}
    FROM (
        SELECT tenant, trace_id, span_id, evidence, instr(evidence::VARCHAR, '"prompt":{{"hash":"') AS begins
        FROM spans
        WHERE start_time >= $start - INTERVAL 1 HOUR AND start_time < $end + INTERVAL 1 HOUR AND role = 'llm'
    )
    WHERE begins > 0
),

told_by_logs AS MATERIALIZED (
    SELECT tenant, record_hash, {hashes}
    FROM (
        SELECT tenant, record_hash, evidence, instr(evidence::VARCHAR, '"prompt":{{"hash":"') AS begins
        FROM log_records
        WHERE time >= $start - INTERVAL 1 HOUR AND time < $end + INTERVAL 1 HOUR
    )
    WHERE begins > 0
),

told_by_messages AS (
    SELECT
        tenant, trace_id, span_id,
        'hashes' AS told_by,
        list({{'hash': hash(message.hash), 'bytes': message.bytes, 'part': message.parts[-1]}}
            ORDER BY time_unix_nano, message.parts[-1] <> 'system', record_hash) AS pieces
    FROM (
        SELECT
            tenant, trace_id, span_id, time_unix_nano, record_hash,
            from_json(evidence -> '$.message', '{{"hash":"VARCHAR","bytes":"BIGINT","parts":["VARCHAR"]}}') AS message
        FROM log_records
        WHERE time >= $start - INTERVAL 1 HOUR AND time < $end + INTERVAL 1 HOUR
            AND span_id IS NOT NULL
            AND contains(evidence::VARCHAR, '"message":{{"hash":')
    )
    GROUP BY ALL
),

captured AS (
    FROM contents
),

{sections},

chunks AS (
    SELECT
        *,
        unnest(range(0, greatest(length(text), 1), 4096)) AS begins
    FROM sections
),

told_by_contents AS (
    SELECT
        tenant, trace_id, span_id,
        'contents' AS told_by,
        list(
            {{
                'hash': hash(CASE WHEN begins = 0 THEN role END, substr(text, begins + 1, 4096)),
                'bytes': strlen(substr(text, begins + 1, 4096)),
                'part': CASE WHEN begins + 4096 < length(text) THEN role || '*' ELSE role END
            }}
            ORDER BY
                CASE part WHEN 'tools' THEN 0 WHEN 'system' THEN 1 ELSE 2 END, number, start_time, key, place, text, begins
        ) AS pieces
    FROM chunks
    GROUP BY tenant, trace_id, span_id
    HAVING bool_or(part = 'messages')
),

told_in_pieces AS (
    SELECT
        tenant, trace_id, span_id, told_by,
        md5(list_transform(pieces, lambda piece: piece.hash)::VARCHAR) AS hash,
        list_sum(list_transform(pieces, lambda piece: piece.bytes))::BIGINT AS bytes{pieces}
    FROM (FROM told_by_messages UNION ALL BY NAME FROM told_by_contents)
),

-- One way of telling for each record: hashes before text, and a record before its events.
told AS MATERIALIZED (
    FROM told_by_spans
    UNION ALL BY NAME
    FROM told_in_pieces ANTI JOIN told_by_spans USING (tenant, trace_id, span_id)
),

by_own_record AS (
    SELECT window_calls.call_id, told.* EXCLUDE (tenant, trace_id, span_id)
    FROM window_calls
    JOIN told USING (tenant, trace_id, span_id)
    QUALIFY row_number() OVER (PARTITION BY call_id ORDER BY told_by, hash) = 1
),

others AS (
    SELECT
        call_id, tenant, place,
        members ->> ('$[' || place || '].trace_id') AS trace_id,
        members ->> ('$[' || place || '].span_id') AS span_id,
        members ->> ('$[' || place || '].record_hash') AS record_hash
    FROM (
        SELECT call_id, tenant, members, unnest(range(0, json_array_length(members)::BIGINT)) AS place
        FROM window_calls
        ANTI JOIN by_own_record USING (call_id)
        WHERE span_id IS NULL OR json_array_length(members) > 1
    )
),

by_others AS (
    SELECT * EXCLUDE (place)
    FROM (
        SELECT call_id, place, told.* EXCLUDE (tenant, trace_id, span_id)
        FROM others
        JOIN told USING (tenant, trace_id, span_id)
        UNION ALL BY NAME
        SELECT call_id, place, told_by_logs.* EXCLUDE (tenant, record_hash)
        FROM others
        JOIN told_by_logs USING (tenant, record_hash)
    )
    QUALIFY row_number() OVER (PARTITION BY call_id ORDER BY place, told_by, hash) = 1
)

SELECT {columns} FROM by_own_record
UNION ALL
SELECT {columns} FROM by_others

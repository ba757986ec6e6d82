    -- The calls of a window, each with the library that sent its span; where log records alone reported it, that which
    -- sent the one preferred. A call may have begun before the record that tells of it. `record` tells records apart by
    -- 64 bits: of a million, two are alike in one of ten million lakes.
    SELECT calls.*, coalesce(scope_name, dialect, '') AS library, coalesce(scope_version, '') AS version
    FROM (
        SELECT *, hash(tenant, trace_id, span_id) AS record
        FROM window_calls
        WHERE signal = 'span'
    ) AS calls
    LEFT JOIN (
        SELECT hash(tenant, trace_id, span_id) AS record, scope_name, scope_version
        FROM spans
        WHERE role IN ('llm', 'embeddings')
          AND start_time >= $start::TIMESTAMP - INTERVAL 1 HOUR
          AND start_time < $end::TIMESTAMP + INTERVAL 1 HOUR
    ) USING (record)
    UNION ALL BY NAME
    SELECT calls.*, coalesce(scope_name, dialect, '') AS library, coalesce(scope_version, '') AS version
    FROM (
        SELECT *, hash(tenant, members ->> '$[0].record_hash') AS record
        FROM window_calls
        WHERE signal = 'log'
    ) AS calls
    LEFT JOIN (
        SELECT hash(tenant, record_hash) AS record, scope_name, scope_version
        FROM log_records
        WHERE role IN ('llm', 'embeddings')
          AND time >= $start::TIMESTAMP - INTERVAL 1 HOUR
          AND time < $end::TIMESTAMP + INTERVAL 1 HOUR
    ) USING (record)

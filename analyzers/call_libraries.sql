    -- The library that sent the record which is preferred of a call; the log records of a window are far fewer than
    -- spans. A call may have begun before the record that tells of it.
    SELECT
        call_id,
        coalesce(spans.scope_name, log_records.scope_name, window_calls.dialect, '') AS library,
        coalesce(spans.scope_version, log_records.scope_version, '') AS version,
        coalesce({streaming}, FALSE) AS streamed
    FROM (SELECT *, members ->> '$[0].record_hash' AS record_hash FROM window_calls) AS window_calls
    LEFT JOIN spans
      ON spans.tenant = window_calls.tenant
     AND spans.trace_id = window_calls.trace_id
     AND spans.span_id = window_calls.span_id
     AND spans.start_time >= $start::TIMESTAMP - INTERVAL 1 HOUR
     AND spans.start_time < $end::TIMESTAMP + INTERVAL 1 HOUR
    LEFT JOIN log_records
      ON log_records.tenant = window_calls.tenant
     AND log_records.record_hash = window_calls.record_hash
     AND log_records.time >= $start::TIMESTAMP - INTERVAL 1 HOUR
     AND log_records.time < $end::TIMESTAMP + INTERVAL 1 HOUR

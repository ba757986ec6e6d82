-- The traces with a record of a stretch of time that may report a call, named as call_records names them.
SELECT DISTINCT tenant, trace_id, NULL::VARCHAR AS span_id, NULL::VARCHAR AS role, start_time, duration_ns
FROM lake.spans
WHERE start_time >= TIMESTAMP '{start}' AND start_time <= TIMESTAMP '{end}' AND role IN ('llm', 'embeddings')
UNION
SELECT tenant, {record_trace} AS trace_id, NULL, NULL, time AS start_time, 0::BIGINT AS duration_ns
FROM lake.log_records
WHERE time >= TIMESTAMP '{start}' AND time <= TIMESTAMP '{end}' AND {reports_call}

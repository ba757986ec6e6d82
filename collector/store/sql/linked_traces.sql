-- The traces of all records of those calls, named as call_records names them.
CREATE OR REPLACE TEMP TABLE linked_traces AS
SELECT DISTINCT tenant, trace_id, NULL::VARCHAR AS span_id, NULL::VARCHAR AS role, start_time, duration_ns
FROM stale_calls
WHERE trace_id IS NOT NULL
UNION
SELECT tenant, {record_trace} AS trace_id, NULL, NULL, start_time, duration_ns
FROM lake.log_records
JOIN (SELECT tenant, record_hash, start_time, duration_ns FROM stale_calls) USING (tenant, record_hash)
WHERE {within}

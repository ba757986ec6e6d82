-- Where records of their traces stand, the first loaded among them, as StoredSpans has its rows.
SELECT DISTINCT tenant, trace_id, NULL::VARCHAR AS span_id, NULL::VARCHAR AS role, start_time, duration_ns
FROM twins
UNION
FROM linked_traces

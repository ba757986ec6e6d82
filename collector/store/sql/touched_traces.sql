-- Traces with a new record that hold a model call, new or stored, reported by a span or a log record. On others nothing
-- depends. A log record outside any trace is a trace of its own.
CREATE OR REPLACE TEMP TABLE touched_traces AS
WITH candidates AS (
    SELECT tenant, trace_id FROM new_spans WHERE role IN ('llm', 'embeddings')
    UNION
    SELECT tenant, trace_id FROM stored_spans WHERE role IN ('llm', 'embeddings')
    UNION
    FROM stored_call_traces
)
SELECT tenant, trace_id
FROM new_spans
SEMI JOIN candidates USING (tenant, trace_id)
UNION
SELECT tenant, trace_id
FROM new_call_logs

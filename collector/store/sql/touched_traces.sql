-- Traces with a new span that hold a model call, new or stored. On others nothing depends.
CREATE OR REPLACE TEMP TABLE touched_traces AS
WITH candidates AS (
    SELECT tenant, trace_id FROM new_spans WHERE role IN ('llm', 'embeddings')
    UNION
    SELECT tenant, trace_id FROM stored_spans WHERE role IN ('llm', 'embeddings')
)
SELECT DISTINCT tenant, trace_id
FROM new_spans
SEMI JOIN candidates USING (tenant, trace_id)

-- Whose the spans of those traces are (semconv/ancestry.py): by their own word, else that of their nearest ancestor that
-- says it, else that of the only one of whom the trace tells. NULL: nobody's, or in doubt.
CREATE OR REPLACE TEMP TABLE erase_told AS
WITH RECURSIVE
spans_here AS (
    SELECT tenant, trace_id, span_id, parent_span_id, start_time, {own} AS own
    FROM lake.spans
    SEMI JOIN erase_traces USING (tenant, trace_id)
),
near AS (
    SELECT tenant, trace_id, span_id, own AS is_subjects
    FROM spans_here
    WHERE own IS NOT NULL
    UNION ALL
    SELECT child.tenant, child.trace_id, child.span_id, near.is_subjects
    FROM spans_here AS child
    JOIN near
      ON near.tenant = child.tenant AND near.trace_id = child.trace_id AND near.span_id = child.parent_span_id
    WHERE child.own IS NULL
),
nearest AS (
    SELECT tenant, trace_id, span_id, bool_or(is_subjects) AS is_subjects FROM near GROUP BY tenant, trace_id, span_id
),
said AS (
    SELECT tenant, trace_id, own FROM spans_here
    UNION ALL
    SELECT tenant, trace_id, {own} FROM lake.log_records SEMI JOIN erase_traces USING (tenant, trace_id)
),
whole AS (
    SELECT tenant, trace_id, bool_and(own) AS is_subjects FROM said GROUP BY tenant, trace_id
)
SELECT
    spans_here.tenant,
    spans_here.trace_id,
    spans_here.span_id,
    spans_here.start_time,
    coalesce(nearest.is_subjects, whole.is_subjects) AS is_subjects,
    whole.is_subjects AS is_whole_trace
FROM spans_here
LEFT JOIN nearest USING (tenant, trace_id, span_id)
LEFT JOIN whole USING (tenant, trace_id)

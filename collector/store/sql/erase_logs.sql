-- Log records that say it themselves, and those that say nothing and stand in a span or a trace of the subject's.
CREATE OR REPLACE TEMP TABLE erase_log_records AS
WITH
spans_told AS (
    SELECT tenant, trace_id, span_id, bool_or(is_subjects) AS is_subjects
    FROM erase_told
    GROUP BY tenant, trace_id, span_id
),
traces_told AS (
    SELECT tenant, trace_id, bool_and(own) AS is_subjects
    FROM (
        SELECT tenant, trace_id, {own} AS own FROM lake.spans SEMI JOIN erase_traces USING (tenant, trace_id)
        UNION ALL
        SELECT tenant, trace_id, {own} FROM lake.log_records SEMI JOIN erase_traces USING (tenant, trace_id)
    )
    GROUP BY tenant, trace_id
)
SELECT record.tenant, record.record_hash, record.time, record.trace_id, record.span_id
FROM (
    SELECT tenant, record_hash, time, trace_id, span_id, {own} AS own
    FROM lake.log_records
    WHERE {of_tenant} AND ({names_it} OR (tenant, trace_id) IN (FROM erase_traces))
) AS record
LEFT JOIN spans_told USING (tenant, trace_id, span_id)
LEFT JOIN traces_told USING (tenant, trace_id)
WHERE coalesce(record.own, spans_told.is_subjects, traces_told.is_subjects)

-- Data points of which an exemplar names a span that is erased.
CREATE OR REPLACE TEMP TABLE erase_exemplars AS
SELECT DISTINCT tenant, record_hash
FROM (
    SELECT tenant, record_hash, unnest(from_json(exemplars, '["JSON"]')) AS exemplar
    FROM lake.metric_points
    WHERE contains(exemplars::VARCHAR, 'trace_id')
)
WHERE (tenant, exemplar ->> 'trace_id', exemplar ->> 'span_id') IN (
    SELECT (tenant, trace_id, span_id) FROM erase_spans
)

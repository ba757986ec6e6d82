-- The traces in which a record or a call is the subject's by what it says itself.
CREATE OR REPLACE TEMP TABLE erase_traces AS
SELECT DISTINCT tenant, trace_id
FROM (
    SELECT tenant, trace_id FROM lake.spans WHERE {names_it}
    UNION ALL
    SELECT tenant, trace_id FROM lake.log_records WHERE {names_it}
    UNION ALL
    SELECT tenant, trace_id FROM lake.calls WHERE {column} IN {forms} AND {of_tenant}
)
WHERE trace_id IS NOT NULL

-- The rows of those identities that stand in several; the first loaded has place 1.
SELECT * EXCLUDE (rows)
FROM (
    SELECT
        hash(tenant, trace_id, span_id) AS identity, tenant, trace_id, span_id, start_time, duration_ns, load_id,
        row_number() OVER (PARTITION BY tenant, trace_id, span_id ORDER BY load_id, received_at, start_time) AS place,
        count(*) OVER (PARTITION BY tenant, trace_id, span_id) AS rows
    FROM lake.spans
    WHERE ({within})
      AND hash(tenant, trace_id, span_id) IN (SELECT identity FROM repeated)
)
WHERE rows > 1
ORDER BY tenant, trace_id, span_id, place

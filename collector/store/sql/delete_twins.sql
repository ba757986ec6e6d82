DELETE FROM lake.{table}
WHERE ({within})
  AND (tenant, trace_id, span_id, start_time) IN (SELECT (tenant, trace_id, span_id, start_time) FROM doomed)

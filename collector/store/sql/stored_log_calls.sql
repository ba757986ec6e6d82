-- Stored calls that only log records reported: no trace names them, but their ids.
UNION ALL
SELECT {columns}
FROM lake.calls
WHERE trace_id IS NULL
  AND ({when})
  AND (tenant, call_id) IN (SELECT (tenant, {call_id}) FROM call_records WHERE signal = 'log')

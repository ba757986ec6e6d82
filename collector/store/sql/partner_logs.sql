-- Stored log records that may tell of the same call as a record of call_records: by an equal response id or equal tokens,
-- or by having failed as it did.
WITH here AS (
    SELECT response_id, coalesce(input_tokens, -1) AS input_or_none
    FROM call_records
    WHERE role IN ('llm', 'embeddings')
      AND (coalesce(input_tokens, output_tokens) IS NOT NULL OR status_code = 'ERROR')
)
SELECT {columns}
FROM lake.log_records
WHERE ({within})
  AND {reports_call}
  AND (
      response_id IN (SELECT response_id FROM here WHERE response_id IS NOT NULL)
      OR trace_id IS NULL AND coalesce(input_tokens, -1) IN (SELECT input_or_none FROM here)
      OR coalesce(input_tokens, -1) IN (
          SELECT coalesce(input_tokens, -1) FROM call_records WHERE signal = 'log' AND starts_with(trace_id, 'log ')
      )
  )

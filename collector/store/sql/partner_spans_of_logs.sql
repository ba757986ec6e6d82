-- Stored spans that may tell of the same call as a log record of call_records that stands in no trace: within the horizon
-- those of equal tokens, or failed ones where it failed.
WITH logs AS (
    SELECT coalesce(input_tokens, -1) AS input_or_none
    FROM call_records
    WHERE signal = 'log' AND starts_with(trace_id, 'log ')
)
SELECT {columns}
FROM lake.spans
WHERE ({within_horizon})
  AND role IN ('llm', 'embeddings')
  AND (coalesce(input_tokens, output_tokens) IS NOT NULL OR status_code = 'ERROR')
  AND coalesce(input_tokens, -1) IN (FROM logs)

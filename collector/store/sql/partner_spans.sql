-- Stored spans that may be one call with a record of call_records: within the horizon by an equal response id, or at the
-- same moment by equal tokens, or failed like it. semconv decides; this only keeps the rest of the lake out of it.
CREATE OR REPLACE TEMP TABLE partner_records AS
SELECT {columns}
FROM lake.spans
WHERE ({within_horizon})
  AND role IN ('llm', 'embeddings')
  AND response_id IN (
      SELECT response_id FROM call_records WHERE role IN ('llm', 'embeddings') AND response_id IS NOT NULL
  )
UNION ALL
SELECT {columns}
FROM lake.spans
WHERE ({same_moment})
  AND role IN ('llm', 'embeddings')
  AND coalesce(input_tokens, CASE WHEN status_code = 'ERROR' THEN -1 END) IN (
      SELECT coalesce(input_tokens, CASE WHEN status_code = 'ERROR' THEN -1 END) AS input_or_none
      FROM call_records
      WHERE role IN ('llm', 'embeddings') AND (input_tokens IS NOT NULL OR status_code = 'ERROR')
  )

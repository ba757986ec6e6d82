-- Stored spans that may be one call with a record of call_records: within the horizon by an equal response id, or at the
-- same moment by equal tokens, or failed like it. semconv decides; this only keeps the rest of the lake out of it.
SELECT {columns}
FROM lake.spans
WHERE ({within_horizon})
  AND role IN ('llm', 'embeddings')
  AND {of_others}
  AND (
      response_id IN {ids}
      OR {alike}
  )

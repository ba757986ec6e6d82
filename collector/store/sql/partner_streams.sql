-- Stored spans that may tell of the same stream as one of call_records: roots of one library, of which one has no usage and
-- the other no length.
SELECT {columns}
FROM lake.spans
WHERE ({within_horizon})
  AND role IN ('llm', 'embeddings')
  AND parent_span_id IS NULL
  AND (coalesce(input_tokens, output_tokens) IS NULL OR start_unix_nano = end_unix_nano)
  AND scope_name IN (SELECT scope_name FROM call_records WHERE {may_stream})

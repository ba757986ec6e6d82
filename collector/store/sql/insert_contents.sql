-- Texts that are not stored yet: the same text at the same place is the same row.
INSERT INTO lake.contents BY NAME
WITH
offered AS (
    SELECT DISTINCT tenant, trace_id, span_id, kind, key, content, start_time
    FROM extracted_contents
),
stored AS (
    SELECT tenant, trace_id, span_id, kind, key, content
    FROM lake.contents
    WHERE {windows}
)
SELECT offered.*, '{load_id}' AS load_id
FROM offered
ANTI JOIN stored
  ON offered.tenant = stored.tenant
 AND offered.trace_id IS NOT DISTINCT FROM stored.trace_id
 AND offered.span_id IS NOT DISTINCT FROM stored.span_id
 AND offered.kind = stored.kind
 AND offered.key = stored.key
 AND offered.content = stored.content
ORDER BY start_time

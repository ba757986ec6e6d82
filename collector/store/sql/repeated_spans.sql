-- Identities, as hashes, that stand in several rows of spans and at least once in one of a later load; one part of all
-- hashes, so that they fit into memory.
WITH
spans AS (
    SELECT hash(tenant, trace_id, span_id) AS identity, load_id
    FROM lake.spans
),
loaded AS (
    SELECT DISTINCT identity
    FROM spans
    WHERE load_id > '{since}' AND identity % {buckets} = {bucket}
)
SELECT identity
FROM spans
SEMI JOIN loaded USING (identity)
WHERE identity % {buckets} = {bucket}
GROUP BY identity
HAVING count(*) > 1

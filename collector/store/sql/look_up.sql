-- Stored rows near the batch's times, of keys (or traces) that it names.
SELECT {columns}
FROM lake.{table} AS stored
SEMI JOIN {wanted} AS wanted USING ({match})
WHERE {condition}

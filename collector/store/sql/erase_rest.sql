-- Data points that say it themselves, and the texts of the spans and log records.
CREATE OR REPLACE TEMP TABLE erase_metric_points AS
SELECT tenant, record_hash, time
FROM lake.metric_points
WHERE {names_it};

CREATE OR REPLACE TEMP TABLE erase_contents AS
SELECT rowid AS node, start_time
FROM lake.contents
WHERE (tenant, trace_id, span_id) IN (SELECT (tenant, trace_id, span_id) FROM erase_spans)
UNION
SELECT stored.rowid, stored.start_time
FROM lake.contents AS stored
JOIN erase_log_records AS record
  ON record.tenant = stored.tenant
 AND record.time = stored.start_time
 AND record.trace_id IS NOT DISTINCT FROM stored.trace_id
 AND record.span_id IS NOT DISTINCT FROM stored.span_id

-- All that reported one of those calls goes with it: the same words, told twice.
INSERT INTO erase_spans
SELECT DISTINCT tenant, trace_id, span_id, stored.start_time
FROM lake.spans AS stored
SEMI JOIN erase_calls USING (tenant, trace_id, span_id)
ANTI JOIN erase_spans USING (tenant, trace_id, span_id);

INSERT INTO erase_log_records
SELECT tenant, record_hash, stored.time, stored.trace_id, stored.span_id
FROM lake.log_records AS stored
SEMI JOIN erase_calls USING (tenant, record_hash)
ANTI JOIN erase_log_records USING (tenant, record_hash);

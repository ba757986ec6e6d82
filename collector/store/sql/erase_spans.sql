CREATE OR REPLACE TEMP TABLE erase_spans AS
SELECT DISTINCT tenant, trace_id, span_id, start_time
FROM erase_told
WHERE is_subjects

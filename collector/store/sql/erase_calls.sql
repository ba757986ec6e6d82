-- The subject's calls, and those that one of the records to be erased reported, with all records of each.
CREATE OR REPLACE TEMP TABLE erase_calls AS
WITH
-- Without reading every list of members.
nearby AS (
    SELECT tenant, call_id, start_time, members, coalesce({column} IN {forms}, FALSE) AS is_subjects
    FROM lake.calls
    WHERE {of_tenant}
      AND (
          {column} IN {forms}
          OR (tenant, trace_id) IN (FROM erase_traces)
          OR span_id IS NULL
          OR contains(members::VARCHAR, '}},{{')
      )
),
membership AS (
    SELECT * EXCLUDE (members), unnest(from_json(members, '["JSON"]')) AS member FROM nearby
),
records AS (
    SELECT
        tenant,
        call_id,
        start_time,
        is_subjects,
        member ->> 'trace_id' AS trace_id,
        member ->> 'span_id' AS span_id,
        member ->> 'record_hash' AS record_hash
    FROM membership
)
SELECT tenant, call_id, start_time, trace_id, span_id, record_hash
FROM records
WHERE (tenant, call_id) IN (
    SELECT (tenant, call_id)
    FROM records
    WHERE is_subjects
       OR (tenant, trace_id, span_id) IN (SELECT (tenant, trace_id, span_id) FROM erase_spans)
       OR (tenant, record_hash) IN (SELECT (tenant, record_hash) FROM erase_log_records)
)

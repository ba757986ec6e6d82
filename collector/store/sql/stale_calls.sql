-- Stored calls that a changed record reported, alone or together with others, and all their records.
CREATE OR REPLACE TEMP TABLE stale_calls AS
WITH
changed AS (
    SELECT tenant, {record} AS record FROM {changed}
),
-- Without reading every list of members.
nearby AS (
    SELECT tenant, call_id, start_time, duration_ns, members
    FROM lake.calls
    WHERE ({near})
      AND (
          (tenant, trace_id || ' ' || span_id) IN (FROM changed)
          OR span_id IS NULL
          OR contains(members::VARCHAR, '}},{{')
      )
),
membership AS (
    SELECT * EXCLUDE (members), unnest(from_json(members, '["JSON"]')) AS member FROM nearby
),
records AS (
    SELECT
        tenant, call_id, start_time, duration_ns,
        member ->> 'trace_id' AS trace_id,
        member ->> 'record_hash' AS record_hash,
        coalesce((member ->> 'trace_id') || ' ' || (member ->> 'span_id'), member ->> 'record_hash') AS record
    FROM membership
)
SELECT tenant, call_id, start_time, duration_ns, trace_id, record_hash
FROM records
WHERE (tenant, call_id) IN (
    SELECT (tenant, call_id) FROM records WHERE (tenant, record) IN (FROM changed)
)

-- Which untouched traces hold a record that may be one call with a record of the touched ones: a superset of the
-- edges of rule (a) and (c) in edges.sql, symmetric, so that the closure over it does not depend on where it starts.
WITH
here AS (
    SELECT
        tenant, scope_name, resource, response_id, input_tokens, output_tokens,
        start_unix_nano, greatest(end_unix_nano, start_unix_nano) AS end_unix_nano
    FROM call_records
    WHERE role IN ('llm', 'embeddings')
),
elsewhere AS MATERIALIZED (
    SELECT
        tenant, trace_id, scope_name, response_id, input_tokens, output_tokens, start_unix_nano,
        greatest(end_unix_nano, start_unix_nano) AS end_unix_nano,
        {resource} AS resource
    FROM {stored_spans} AS stored
    ANTI JOIN touched_traces USING (tenant, trace_id)
    WHERE role IN ('llm', 'embeddings')
),
-- A response id that only one library reports cannot link two traces; some servers send one id for ever.
shared_ids AS (
    SELECT tenant, response_id
    FROM (
        SELECT tenant, response_id, scope_name FROM here
        UNION ALL
        SELECT tenant, response_id, scope_name FROM elsewhere
    )
    WHERE response_id IS NOT NULL
    GROUP BY tenant, response_id
    HAVING min(coalesce(scope_name, '')) <> max(coalesce(scope_name, ''))
),
same_id AS (
    SELECT elsewhere.tenant, elsewhere.trace_id
    FROM shared_ids
    JOIN here USING (tenant, response_id)
    JOIN elsewhere USING (tenant, response_id)
    WHERE here.scope_name IS DISTINCT FROM elsewhere.scope_name
      AND here.start_unix_nano <= elsewhere.end_unix_nano
      AND elsewhere.start_unix_nano <= here.end_unix_nano
      AND abs(here.start_unix_nano - elsewhere.start_unix_nano) <= {horizon_ns}
),
-- Starts within 50 ms fall into the same or the next slot of 50 ms.
here_slots AS (
    SELECT *, start_unix_nano // {slack_ns} + unnest([-1, 0, 1]) AS slot
    FROM here
    WHERE input_tokens IS NOT NULL
),
same_tokens AS (
    SELECT elsewhere.tenant, elsewhere.trace_id
    FROM here_slots
    JOIN elsewhere
      ON here_slots.tenant = elsewhere.tenant
     AND here_slots.input_tokens = elsewhere.input_tokens
     AND here_slots.slot = elsewhere.start_unix_nano // {slack_ns}
    WHERE here_slots.output_tokens IS NOT DISTINCT FROM elsewhere.output_tokens
      AND here_slots.resource IS NOT DISTINCT FROM elsewhere.resource
      AND here_slots.scope_name IS DISTINCT FROM elsewhere.scope_name
      AND (here_slots.response_id IS NULL OR elsewhere.response_id IS NULL)
      AND abs(here_slots.start_unix_nano - elsewhere.start_unix_nano) <= {slack_ns}
      AND abs(here_slots.end_unix_nano - elsewhere.end_unix_nano) <= {slack_ns}
)
SELECT tenant, trace_id FROM same_id
UNION
SELECT tenant, trace_id FROM same_tokens

-- Which untouched traces hold a record that may be one call with a record of the touched ones: a superset of what
-- call_edges.sql and call_log_twins.sql join across traces, symmetric, so that the closure over it does not depend on
-- where it starts. What log records need is in partners_of_logs.sql where there are log records.
WITH
elsewhere AS MATERIALIZED (
    SELECT {columns}
    FROM {stored_records} AS stored
    ANTI JOIN touched_traces USING (tenant, trace_id)
    WHERE role IN ('llm', 'embeddings')
),
records AS (
    SELECT
        * REPLACE (greatest(end_unix_nano, start_unix_nano) AS end_unix_nano, coalesce(resource, '') AS resource),
        concat_ws(chr(31), signal, scope_name, event_name) AS reporter,
        coalesce(input_tokens, -1) AS input_or_none,
        coalesce(output_tokens, -1) AS output_or_none
    FROM (
        SELECT {columns}, FALSE AS is_elsewhere
        FROM call_records
        WHERE role IN ('llm', 'embeddings')
        UNION ALL
        SELECT {columns}, TRUE AS is_elsewhere
        FROM elsewhere
    )
),
-- A response id that only one library reports cannot link two traces; some servers send one id for ever.
with_shared_id AS (
    SELECT *, row_number() OVER (PARTITION BY tenant, response_id ORDER BY start_unix_nano, trace_id) AS place
    FROM records
    JOIN (
        SELECT tenant, response_id
        FROM records
        WHERE response_id IS NOT NULL
        GROUP BY tenant, response_id
        HAVING min(reporter) <> max(reporter) AND min(is_elsewhere) <> max(is_elsewhere)
    ) USING (tenant, response_id)
),
same_id AS (
    SELECT l.tenant, CASE WHEN l.is_elsewhere THEN l.trace_id ELSE r.trace_id END AS trace_id
    FROM (SELECT *, unnest(range(1, {neighbours} + 1)) AS step FROM with_shared_id) AS l
    JOIN with_shared_id AS r
      ON r.tenant = l.tenant AND r.response_id = l.response_id AND r.place = l.place + l.step
    WHERE l.is_elsewhere <> r.is_elsewhere
      AND l.reporter <> r.reporter
      AND calls_meet(
          l.signal, l.start_unix_nano, l.end_unix_nano, r.signal, r.start_unix_nano, r.end_unix_nano, {log_slack_ns}
      )
      AND r.start_unix_nano - l.start_unix_nano <= {horizon_ns}
),
alike AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY tenant, input_or_none, output_or_none, resource ORDER BY start_unix_nano, trace_id
        ) AS place
    FROM records
    JOIN (
        SELECT tenant, input_or_none, output_or_none, resource
        FROM records
        WHERE signal = 'span'
          AND (input_tokens IS NOT NULL OR failed_unbilled(input_tokens, output_tokens, status_code))
        GROUP BY ALL
        HAVING min(reporter) <> max(reporter) AND min(is_elsewhere) <> max(is_elsewhere)
    ) USING (tenant, input_or_none, output_or_none, resource)
    WHERE signal = 'span'
),
same_tokens AS (
    SELECT l.tenant, CASE WHEN l.is_elsewhere THEN l.trace_id ELSE r.trace_id END AS trace_id
    FROM (SELECT *, unnest(range(1, {neighbours} + 1)) AS step FROM alike) AS l
    JOIN alike AS r
      ON r.tenant = l.tenant AND r.input_or_none = l.input_or_none AND r.output_or_none = l.output_or_none
     AND r.resource = l.resource AND r.place = l.place + l.step
    WHERE l.is_elsewhere <> r.is_elsewhere
      AND l.reporter <> r.reporter
      AND NOT ids_conflict(l.response_id, r.response_id)
      AND r.start_unix_nano - l.start_unix_nano <= {slack_ns}
      AND abs(l.end_unix_nano - r.end_unix_nano) <= {slack_ns}
)
{of_logs}
FROM same_id
UNION
FROM same_tokens
{union_of_logs}

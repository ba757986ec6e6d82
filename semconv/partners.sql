-- Which untouched traces hold a record that may be one call with a record of the touched ones: a superset of the
-- edges of rule (a) and (c) in edges.sql, symmetric, so that the closure over it does not depend on where it starts.
WITH
here AS (
    SELECT
        tenant, trace_id, scope_name, resource, response_id, input_tokens, output_tokens,
        start_unix_nano, greatest(end_unix_nano, start_unix_nano) AS end_unix_nano, FALSE AS is_elsewhere
    FROM call_records
    WHERE role IN ('llm', 'embeddings')
),
elsewhere AS MATERIALIZED (
    SELECT
        tenant, trace_id, scope_name, response_id, input_tokens, output_tokens, start_unix_nano,
        greatest(end_unix_nano, start_unix_nano) AS end_unix_nano, TRUE AS is_elsewhere,
        {resource} AS resource
    FROM {stored_spans} AS stored
    ANTI JOIN touched_traces USING (tenant, trace_id)
    WHERE role IN ('llm', 'embeddings')
),
records AS (
    SELECT *, coalesce(scope_name, '') AS library, coalesce(output_tokens, -1) AS output_or_none,
        coalesce(resource, '') AS process
    FROM (
        FROM here
        UNION ALL BY NAME
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
        HAVING min(library) <> max(library) AND min(is_elsewhere) <> max(is_elsewhere)
    ) USING (tenant, response_id)
),
same_id AS (
    SELECT l.tenant, CASE WHEN l.is_elsewhere THEN l.trace_id ELSE r.trace_id END AS trace_id
    FROM (SELECT *, unnest(range(1, {neighbours} + 1)) AS step FROM with_shared_id) AS l
    JOIN with_shared_id AS r
      ON r.tenant = l.tenant AND r.response_id = l.response_id AND r.place = l.place + l.step
    WHERE l.is_elsewhere <> r.is_elsewhere
      AND l.library <> r.library
      AND r.start_unix_nano <= l.end_unix_nano
      AND r.start_unix_nano - l.start_unix_nano <= {horizon_ns}
),
alike AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY tenant, input_tokens, output_or_none, process ORDER BY start_unix_nano, trace_id
        ) AS place
    FROM records
    JOIN (
        SELECT tenant, input_tokens, output_or_none, process
        FROM records
        WHERE input_tokens IS NOT NULL
        GROUP BY ALL
        HAVING min(library) <> max(library) AND min(is_elsewhere) <> max(is_elsewhere)
        AND count(response_id) < count(*)
    ) USING (tenant, input_tokens, output_or_none, process)
),
same_tokens AS (
    SELECT l.tenant, CASE WHEN l.is_elsewhere THEN l.trace_id ELSE r.trace_id END AS trace_id
    FROM (SELECT *, unnest(range(1, {neighbours} + 1)) AS step FROM alike) AS l
    JOIN alike AS r
      ON r.tenant = l.tenant AND r.input_tokens = l.input_tokens AND r.output_or_none = l.output_or_none
     AND r.process = l.process AND r.place = l.place + l.step
    WHERE l.is_elsewhere <> r.is_elsewhere
      AND l.library <> r.library
      AND (l.response_id IS NULL OR r.response_id IS NULL)
      AND r.start_unix_nano - l.start_unix_nano <= {slack_ns}
      AND abs(l.end_unix_nano - r.end_unix_nano) <= {slack_ns}
)
SELECT tenant, trace_id FROM same_id
UNION
SELECT tenant, trace_id FROM same_tokens

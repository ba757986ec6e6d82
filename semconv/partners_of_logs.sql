-- Continues partners.sql.
,
-- A log record outside any trace and its like: all within one period that have the same counts, with the reasoning or
-- without, and the same session or process.
log_keys AS (
    SELECT *, unnest([session_id, resource]) AS sender
    FROM (
        SELECT
            tenant, trace_id, reporter, is_elsewhere, session_id, resource,
            starts_with(trace_id, 'log ') AS is_alone,
            end_unix_nano // {log_period_ns} AS period,
            input_or_none,
            unnest(list_distinct([output_or_none, output_or_none - coalesce(reasoning_tokens, 0)])) AS output_key
        FROM records
        WHERE coalesce(input_tokens, output_tokens) IS NOT NULL
           OR failed_unbilled(input_tokens, output_tokens, status_code)
    )
    UNION ALL
    -- Likewise what tells the end of a stream, and the calls without usage of that library.
    SELECT
        tenant, trace_id, reporter, is_elsewhere, session_id, resource, event_name IS NOT NULL AS is_alone,
        stream_moment(end_unix_nano, event_name, duration_ns) // {log_period_ns} AS period,
        -2 AS input_or_none, -2 AS output_key, concat_ws(chr(31), resource, scope_name) AS sender
    FROM records
    WHERE signal = 'span' AND parent_span_id IS NULL
      AND may_be_of_stream(event_name, input_tokens, output_tokens, status_code)
),
same_moment AS (
    SELECT tenant, trace_id
    FROM log_keys
    SEMI JOIN (
        SELECT tenant, period, sender, input_or_none, output_key
        FROM log_keys
        WHERE sender IS NOT NULL
        GROUP BY ALL
        HAVING bool_or(is_alone) AND min(reporter) <> max(reporter) AND min(is_elsewhere) <> max(is_elsewhere)
        AND count(*) <= {most_alike}
    ) USING (tenant, period, sender, input_or_none, output_key)
    WHERE is_elsewhere
)

-- What tells the end of a stream, and the calls of that library without usage, as call_log_twins.sql has log records:
-- one to one in their trace; those that are roots, in their process. Counts say nothing of them.
WITH
candidates AS (
    SELECT
        *,
        concat_ws(chr(31), signal, scope_name, event_name) AS reporter,
        stream_moment(greatest(end_unix_nano, start_unix_nano), event_name, duration_ns) AS moment
    FROM call_candidates
    WHERE signal = 'span' AND may_be_of_stream(event_name, input_tokens, output_tokens, status_code)
)
SELECT
    node, concat_ws(chr(31), tenant, scope_name) AS tenant, reporter, event_name IS NOT NULL AS is_log,
    CASE WHEN parent_span_id IS NULL THEN 'log ' || trace_id ELSE trace_id END AS trace_id,
    NULL::VARCHAR AS session_id,
    CASE WHEN parent_span_id IS NULL THEN resource END AS resource,
    response_id, id_style(response_id) AS id_style,
    list_filter([model_family(request_model), model_family(response_model)], lambda name: name IS NOT NULL) AS families,
    -2 AS input_tokens, -2 AS output_tokens, -2 AS answer_tokens,
    moment AS start_unix_nano, moment AS end_unix_nano
FROM candidates
SEMI JOIN (FROM candidates WHERE event_name IS NOT NULL) AS ends USING (tenant, scope_name)
ORDER BY moment, tenant, trace_id, span_id

-- Candidates that a log record may be one call with though neither ids nor spans tie them: those that have a log
-- record's counts, with the reasoning or without, or failed without any, as it did. In order of their ends.
WITH
candidates AS (
    SELECT
        *,
        concat_ws(chr(31), signal, scope_name, event_name) AS reporter,
        coalesce(input_tokens, -1) AS input_or_none,
        coalesce(output_tokens, -1) AS output_or_none
    FROM call_candidates
    WHERE coalesce(input_tokens, output_tokens) IS NOT NULL OR status_code = 'ERROR'
)
SELECT
    node, tenant, reporter, signal = 'log' AS is_log, trace_id,
    CASE WHEN session_id_level = 1 THEN session_id_low END AS session_id,
    resource, response_id, id_style(response_id) AS id_style,
    list_filter([model_family(request_model), model_family(response_model)], lambda name: name IS NOT NULL) AS families,
    input_or_none AS input_tokens, output_or_none AS output_tokens,
    output_or_none - coalesce(reasoning_tokens, 0) AS answer_tokens,
    start_unix_nano, greatest(end_unix_nano, start_unix_nano) AS end_unix_nano
FROM candidates
SEMI JOIN (FROM candidates WHERE signal = 'log') AS logs USING (tenant, input_or_none)
ORDER BY greatest(end_unix_nano, start_unix_nano), tenant, trace_id, span_id

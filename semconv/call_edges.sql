-- Pairs of candidates that may be one call, best first, in an order that depends on their contents alone.
-- rule: id (equal response ids), nested (one an ancestor of the other), twin (rule (c): one process, two traces), and
-- doubt (alike, but nothing proves that they are one). `agreement`: 3 equal counts, 2 both without, 1 not in conflict,
-- 0 in conflict.
WITH
candidates AS (
    SELECT
        node, tenant, trace_id, span_id, signal, scope_name, resource, response_id, request_model, response_model,
        input_tokens, output_tokens, start_unix_nano, greatest(end_unix_nano, start_unix_nano) AS end_unix_nano,
        concat_ws(chr(31), signal, scope_name) AS reporter
    FROM call_candidates
),
shared_ids AS (
    SELECT tenant, response_id
    FROM candidates
    WHERE response_id IS NOT NULL
    GROUP BY tenant, response_id
    HAVING min(reporter) <> max(reporter)
),
same_id AS (
    SELECT 'id' AS rule, l.node AS left_node, r.node AS right_node
    FROM shared_ids
    JOIN candidates AS l USING (tenant, response_id)
    JOIN candidates AS r USING (tenant, response_id)
    WHERE l.reporter < r.reporter
      AND l.start_unix_nano <= r.end_unix_nano
      AND r.start_unix_nano <= l.end_unix_nano
      AND abs(l.start_unix_nano - r.start_unix_nano) <= {horizon_ns}
),
nested AS (
    SELECT
        CASE WHEN l.response_id = r.response_id THEN 'id' ELSE 'nested' END AS rule,
        nesting.ancestor AS left_node, nesting.node AS right_node
    FROM nesting
    JOIN candidates AS l ON l.node = nesting.ancestor
    JOIN candidates AS r ON r.node = nesting.node
    WHERE l.response_id IS NULL OR r.response_id IS NULL OR l.response_id = r.response_id
),
slots AS (
    SELECT *, start_unix_nano // {slack_ns} + unnest([-1, 0, 1]) AS slot
    FROM candidates
    WHERE response_id IS NULL AND input_tokens IS NOT NULL
),
within_one_process AS (
    SELECT
        CASE WHEN l.trace_id = r.trace_id THEN 'doubt' ELSE 'twin' END AS rule,
        l.node AS left_node, r.node AS right_node
    FROM slots AS l
    JOIN candidates AS r
      ON l.tenant = r.tenant
     AND l.input_tokens = r.input_tokens
     AND l.slot = r.start_unix_nano // {slack_ns}
    WHERE (r.response_id IS NOT NULL OR l.reporter < r.reporter)
      AND l.reporter <> r.reporter
      AND l.resource IS NOT DISTINCT FROM r.resource
      AND l.output_tokens IS NOT DISTINCT FROM r.output_tokens
      AND abs(l.start_unix_nano - r.start_unix_nano) <= {slack_ns}
      AND abs(l.end_unix_nano - r.end_unix_nano) <= {slack_ns}
      -- one inside the other
      AND (l.start_unix_nano <= r.start_unix_nano) = (l.end_unix_nano >= r.end_unix_nano)
),
-- One library, one trace, one id, at the same time: identical calls in parallel are real.
repeated_id AS (
    SELECT
        'doubt' AS rule,
        arg_max(node, end_unix_nano) OVER earlier AS left_node,
        node AS right_node
    FROM candidates
    WHERE response_id IS NOT NULL
    WINDOW earlier AS (
        PARTITION BY tenant, trace_id, response_id, reporter
        ORDER BY start_unix_nano, span_id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
    QUALIFY start_unix_nano <= max(end_unix_nano) OVER earlier
),
pairs AS (
    FROM same_id
    UNION
    FROM nested
    UNION
    FROM within_one_process
    UNION
    FROM repeated_id
),
compared AS (
    SELECT
        rule, left_node, right_node, l.reporter AS left_reporter, r.reporter AS right_reporter,
        CASE
            WHEN l.input_tokens <> r.input_tokens OR l.output_tokens <> r.output_tokens THEN 0
            WHEN l.input_tokens = r.input_tokens AND l.output_tokens IS NOT DISTINCT FROM r.output_tokens THEN 3
            WHEN coalesce(l.input_tokens, l.output_tokens, r.input_tokens, r.output_tokens) IS NULL THEN 2
            ELSE 1
        END AS agreement,
        abs(l.start_unix_nano - r.start_unix_nano) + abs(l.end_unix_nano - r.end_unix_nano) AS gap_ns,
        l.trace_id AS left_trace, l.span_id AS left_span, r.trace_id AS right_trace, r.span_id AS right_span
    FROM pairs
    JOIN candidates AS l ON l.node = left_node
    JOIN candidates AS r ON r.node = right_node
    WHERE l.start_unix_nano <= r.end_unix_nano
      AND r.start_unix_nano <= l.end_unix_nano
      AND models_agree(l.request_model, l.response_model, r.request_model, r.response_model)
)
SELECT rule, left_node, right_node, left_reporter, right_reporter, agreement
FROM compared
LEFT JOIN nesting ON nesting.ancestor = left_node AND nesting.node = right_node
WHERE rule = 'id' OR agreement > 0
ORDER BY
    array_position(['id', 'nested', 'twin', 'doubt'], rule), agreement DESC, distance NULLS LAST, gap_ns,
    least((left_trace, left_span), (right_trace, right_span)),
    greatest((left_trace, left_span), (right_trace, right_span))

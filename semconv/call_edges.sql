-- Pairs of candidates that may be one call, best first, in an order that depends on their contents alone.
-- rule: id (equal response ids), nested (one an ancestor of the other), twin (one process, in two traces or below one
-- span: what is told by callbacks, as LangChain's libraries are, is no parent of the SDK's span), and
-- doubt (alike, but nothing proves that they are one). `agreement`: 3 equal counts, 2 both without, 1 not in conflict,
-- 0 in conflict. What joins log records by their counts: call_log_twins.sql.
WITH
candidates AS (
    SELECT
        node, tenant, trace_id, span_id, parent_span_id, signal, scope_name, resource, response_id, request_model, response_model,
        input_tokens, output_tokens, coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) AS cached_tokens,
        status_code, start_unix_nano, greatest(end_unix_nano, start_unix_nano) AS end_unix_nano,
        concat_ws(chr(31), signal, scope_name, event_name) AS reporter
    FROM call_candidates
),
-- Equal ids, of ids that more than one library reports; each record against the next few by start, so that one id for
-- ever, which some servers send, costs no square.
with_shared_id AS (
    SELECT *, row_number() OVER (PARTITION BY tenant, response_id ORDER BY start_unix_nano, trace_id, span_id) AS place
    FROM candidates
    JOIN (
        SELECT tenant, response_id
        FROM candidates
        WHERE response_id IS NOT NULL
        GROUP BY tenant, response_id
        HAVING min(reporter) <> max(reporter)
    ) USING (tenant, response_id)
),
same_id AS (
    SELECT 'id' AS rule, l.node AS left_node, r.node AS right_node
    FROM (SELECT *, unnest(range(1, {neighbours} + 1)) AS step FROM with_shared_id) AS l
    JOIN with_shared_id AS r
      ON r.tenant = l.tenant AND r.response_id = l.response_id AND r.place = l.place + l.step
    WHERE l.reporter <> r.reporter
      AND r.start_unix_nano - l.start_unix_nano <= {horizon_ns}
),
-- Materialized, as with_left below: DuckDB would begin with all pairs of candidates, the square of a trace's calls.
outer_of_nested AS MATERIALIZED (
    SELECT nesting.ancestor AS left_node, nesting.node AS right_node, l.response_id
    FROM nesting
    JOIN candidates AS l ON l.node = nesting.ancestor
),
nested AS (
    SELECT
        CASE
            WHEN l.response_id = r.response_id THEN 'id'
            WHEN ids_conflict(l.response_id, r.response_id) THEN 'doubt'
            ELSE 'nested'
        END AS rule,
        left_node, right_node
    FROM outer_of_nested AS l
    JOIN candidates AS r ON r.node = right_node
),
-- Equal counts from one process, or none where both failed, likewise.
alike AS (
    SELECT
        *,
        coalesce(input_tokens, -1) AS input_or_none,
        coalesce(output_tokens, -1) AS output_or_none,
        coalesce(resource, '') AS process,
        row_number() OVER (
            PARTITION BY tenant, coalesce(input_tokens, -1), coalesce(output_tokens, -1), coalesce(resource, '')
            ORDER BY start_unix_nano, trace_id, span_id
        ) AS place
    FROM candidates
    WHERE signal = 'span'
      AND (input_tokens IS NOT NULL OR failed_unbilled(input_tokens, output_tokens, status_code))
),
within_one_process AS (
    SELECT
        CASE WHEN l.trace_id = r.trace_id THEN 'doubt' ELSE 'twin' END AS rule,
        l.node AS left_node, r.node AS right_node
    FROM (SELECT *, unnest(range(1, {neighbours} + 1)) AS step FROM alike) AS l
    JOIN alike AS r
      ON r.tenant = l.tenant AND r.input_or_none = l.input_or_none AND r.output_or_none = l.output_or_none
     AND r.process = l.process AND r.place = l.place + l.step
    WHERE l.reporter <> r.reporter
      AND NOT ids_conflict(l.response_id, r.response_id)
      AND r.start_unix_nano - l.start_unix_nano <= {slack_ns}
      AND abs(l.end_unix_nano - r.end_unix_nano) <= {slack_ns}
      -- the later one inside the earlier one, or both started at once
      AND (r.end_unix_nano <= l.end_unix_nano + {clock_ns} OR r.start_unix_nano = l.start_unix_nano)
),

-- Below one span, what is told by callbacks (LangChain's libraries) stands beside the SDK's span of the same call, which it
-- holds. It may begin long before: a client is made, certificates are read. Both end at once, so that of several alike they
-- end in the same order.
beside_each_other AS (
    SELECT *, row_number() OVER (
        PARTITION BY tenant, trace_id, parent_span_id, input_tokens, output_or_none, process, reporter
        ORDER BY end_unix_nano, start_unix_nano, span_id
    ) AS turn
    FROM alike
    WHERE parent_span_id IS NOT NULL AND input_tokens IS NOT NULL
),
below_one_span AS (
    SELECT 'twin' AS rule, l.node AS left_node, r.node AS right_node
    FROM beside_each_other AS l
    JOIN beside_each_other AS r USING (
        tenant, trace_id, parent_span_id, input_tokens, output_or_none, process, turn
    )
    WHERE l.reporter <> r.reporter
      AND (l.response_id IS NULL OR r.response_id IS NULL)
      AND (l.start_unix_nano, l.reporter) < (r.start_unix_nano, r.reporter)
      AND r.end_unix_nano <= l.end_unix_nano + {clock_ns}
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
    FROM below_one_span
    UNION
    FROM repeated_id
),
with_left AS MATERIALIZED (
    SELECT *
    FROM pairs
    JOIN candidates ON node = left_node
),
compared AS (
    SELECT
        rule, left_node, right_node, l.reporter AS left_reporter, r.reporter AS right_reporter,
        CASE
            WHEN l.output_tokens = r.output_tokens AND differ_by_cache(l.input_tokens, r.input_tokens, l.cached_tokens, r.cached_tokens)
                THEN 3
            WHEN l.input_tokens <> r.input_tokens OR l.output_tokens <> r.output_tokens THEN 0
            WHEN l.input_tokens = r.input_tokens AND l.output_tokens IS NOT DISTINCT FROM r.output_tokens THEN 3
            WHEN coalesce(l.input_tokens, l.output_tokens, r.input_tokens, r.output_tokens) IS NULL THEN 2
            ELSE 1
        END AS agreement,
        coalesce(l.response_id <> r.response_id, FALSE) AS has_two_ids,
        abs(l.start_unix_nano - r.start_unix_nano) + abs(l.end_unix_nano - r.end_unix_nano) AS gap_ns,
        abs(l.start_unix_nano - r.start_unix_nano) AS start_gap_ns,
        l.trace_id AS left_trace, l.span_id AS left_span, r.trace_id AS right_trace, r.span_id AS right_span
    FROM with_left AS l
    JOIN candidates AS r ON r.node = right_node
    WHERE calls_meet(
        l.signal, l.start_unix_nano, l.end_unix_nano, r.signal, r.start_unix_nano, r.end_unix_nano, {log_slack_ns}
    )
      AND models_agree(l.request_model, l.response_model, r.request_model, r.response_model)
)
SELECT rule, left_node, right_node, left_reporter, right_reporter, agreement
FROM compared
LEFT JOIN nesting ON nesting.ancestor = left_node AND nesting.node = right_node
WHERE rule = 'id' OR agreement > CASE WHEN has_two_ids THEN 1 ELSE 0 END
ORDER BY
    array_position(['id', 'nested', 'twin', 'doubt'], rule), agreement DESC, distance NULLS LAST, gap_ns,
    -- As near, one inside the other: a library asks soon, and may take its time with the answer.
    start_gap_ns,
    least((left_trace, left_span), (right_trace, right_span)),
    greatest((left_trace, left_span), (right_trace, right_span))

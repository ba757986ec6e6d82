-- What token metrics say of a window, per service and model that they tell of, beside what `calls` says: a cross-check,
-- no source of figures. $start, $end: half-open, UTC.
-- Counts as metrics have them: where a library's input leaves the cache out, its metric does too, so that it agrees
-- with call_uncached_input_tokens.
WITH
-- Which points count tokens of model calls, and as what. What is part of another count stands nowhere: the cache in
-- gen_ai.*, Codex and Gemini CLI, reasoning in Codex. `preference`: a service that sends several is told by the first.
token_metrics AS (
    FROM (
        VALUES
            ('claude_code.token.usage', 'input', 'input', 1),
            ('claude_code.token.usage', 'cacheRead', 'input', 1),
            ('claude_code.token.usage', 'cacheCreation', 'input', 1),
            ('claude_code.token.usage', 'output', 'output', 1),
            ('gemini_cli.token.usage', 'input', 'input', 1),
            ('gemini_cli.token.usage', 'tool', 'input', 1),
            ('gemini_cli.token.usage', 'output', 'output', 1),
            ('gemini_cli.token.usage', 'thought', 'output', 1), -- Google counts thoughts beside the answer
            ('qwen-code.token.usage', 'input', 'input', 1),
            ('qwen-code.token.usage', 'output', 'output', 1),
            ('codex.turn.token_usage', 'input', 'input', 1),
            ('codex.turn.token_usage', 'output', 'output', 1),
            ('gen_ai.client.inference.usage.input_tokens', NULL, 'input', 2), -- conventions since mid-2026
            ('gen_ai.client.inference.usage.output_tokens', NULL, 'output', 2),
            ('gen_ai.client.token.usage', 'input', 'input', 3), -- conventions before that
            ('gen_ai.client.token.usage', 'output', 'output', 3),
            ('gen_ai.client.token.usage', 'prompt', 'input', 3), -- v1.26
            ('gen_ai.client.token.usage', 'completion', 'output', 3)
    ) AS listed (metric_name, word, counts_as, preference)
),
-- A day before the window is enough to find what a cumulative series had counted before it.
counted AS (
    SELECT
        points.tenant,
        coalesce(points.service_name, '') AS service_name,
        coalesce(points.request_model, points.response_model, '') AS model,
        coalesce(points.scope_name, '') AS scope_name,
        coalesce(points.resource_attributes::VARCHAR, '') AS resource,
        coalesce(points.attributes::VARCHAR, '') AS series,
        points.attributes ->> 'gen_ai.token.modality' AS modality,
        listed.metric_name, listed.counts_as, listed.preference,
        points.temporality,
        points.time,
        points.time_unix_nano,
        coalesce(points.start_time_unix_nano, 0) AS start_time_unix_nano,
        coalesce(points.value_int, points.value_double, points.sum) AS tokens
    FROM metric_points AS points
    JOIN token_metrics AS listed
      ON listed.metric_name = points.metric_name
     AND (listed.word IS NULL OR listed.word = points.token_type)
    WHERE points.metric_type IN ('sum', 'histogram', 'exponential_histogram')
      AND points.temporality IN ('delta', 'cumulative')
      AND points.time >= $start - INTERVAL 1 DAY
      AND points.time < $end
),
-- Points of one modality are parts of those that name none, where both are sent.
whole AS (
    SELECT * EXCLUDE (modality)
    FROM counted
    WHERE tokens IS NOT NULL
    QUALIFY modality IS NULL OR NOT bool_or(modality IS NULL) OVER (
        PARTITION BY tenant, service_name, model, scope_name, resource, metric_name
    )
),
-- What happened between two exports. A cumulative series repeats at every export all it has counted since its start:
-- the last point says it, less what the last one before the window said. Where the series began earlier and no point
-- tells how far it had come, it counts from its first point in the window.
by_series AS (
    SELECT
        tenant, service_name, model, scope_name, metric_name, counts_as, preference,
        CASE
            WHEN temporality = 'delta' THEN sum(tokens) FILTER (time >= $start)
            ELSE max_by(tokens, time_unix_nano) FILTER (time >= $start) - coalesce(
                max_by(tokens, time_unix_nano) FILTER (time < $start),
                CASE
                    WHEN start_time_unix_nano >= epoch_ns($start::TIMESTAMP) THEN 0
                    ELSE min_by(tokens, time_unix_nano) FILTER (time >= $start)
                END
            )
        END AS tokens
    FROM whole
    GROUP BY
        tenant, service_name, model, scope_name, metric_name, counts_as, preference,
        resource, series, start_time_unix_nano, temporality
),
-- A family of counts may be one metric or two, so a source is a scope and a preference.
by_source AS (
    SELECT
        tenant, service_name, model, scope_name, preference,
        list_sort(list(DISTINCT metric_name)) AS metric_names,
        sum(tokens) FILTER (counts_as = 'input') AS input_tokens,
        sum(tokens) FILTER (counts_as = 'output') AS output_tokens,
        sum(tokens) AS tokens
    FROM by_series
    WHERE tokens IS NOT NULL
    GROUP BY ALL
),
-- Several libraries may count the same calls: never added, the one that counted most tells.
told AS (
    SELECT *
    FROM by_source
    QUALIFY row_number() OVER (
        PARTITION BY tenant, service_name, model ORDER BY preference, tokens DESC, scope_name
    ) = 1
),
called AS (
    SELECT
        tenant,
        coalesce(service_name, '') AS service_name,
        coalesce(request_model, response_model, '') AS model,
        count(*) AS calls,
        sum(input_tokens) AS input_tokens,
        sum(input_tokens - coalesce(cache_read_tokens, 0) - coalesce(cache_write_tokens, 0)) AS uncached_input_tokens,
        sum(output_tokens) AS output_tokens
    FROM calls
    -- Where no metric tells of any, calls are not read.
    SEMI JOIN told
        ON told.tenant = calls.tenant
       AND told.service_name = coalesce(calls.service_name, '')
       AND told.model = coalesce(request_model, response_model, '')
    WHERE start_time >= $start AND start_time < $end
    GROUP BY ALL
)
SELECT
    tenant,
    nullif(service_name, '') AS service_name,
    nullif(model, '') AS model,
    metric_names,
    nullif(scope_name, '') AS scope_name,
    round(told.input_tokens)::BIGINT AS metric_input_tokens,
    round(told.output_tokens)::BIGINT AS metric_output_tokens,
    coalesce(calls, 0) AS calls,
    called.input_tokens::BIGINT AS call_input_tokens,
    called.uncached_input_tokens::BIGINT AS call_uncached_input_tokens,
    called.output_tokens::BIGINT AS call_output_tokens
FROM told
LEFT JOIN called USING (tenant, service_name, model)
ORDER BY tenant, service_name NULLS FIRST, model NULLS FIRST

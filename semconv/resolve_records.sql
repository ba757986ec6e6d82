-- What the claimed values of spans and log records mean, row by row. `extracted` has columns of semconv/columns.py and
-- those that kinds.py adds: served_by, served_in, role_of_operation, the rules. {columns} are those of the lake that
-- differ from what was extracted. Macros: macros.py.
WITH
-- A count that is negative, or larger than any call could have, is no count.
sent AS (
    SELECT
        * REPLACE ({plausible_counts}),
        coalesce(least({counts}) < 0 OR greatest({counts}) > {largest_count}, FALSE) AS has_implausible_count,
        lower(coalesce(response_model, request_model)) AS model
    FROM extracted
),
summed AS (
    SELECT
        * REPLACE (
            CASE
                WHEN cache_write_5m_tokens IS NULL AND cache_write_30m_tokens IS NULL
                AND cache_write_1h_tokens IS NULL AND cache_write_12h_tokens IS NULL
                    THEN cache_write_tokens
                ELSE greatest(
                    cache_write_tokens,
                    coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_30m_tokens, 0)
                    + coalesce(cache_write_1h_tokens, 0) + coalesce(cache_write_12h_tokens, 0)
                )
            END AS cache_write_tokens
        ),
        dialect IS NOT NULL AND (input_tokens IS NOT NULL OR output_tokens IS NOT NULL) AS has_usage
    FROM sent
),
-- An operation that no table knows, or none at all, is judged by what the record claims to be about.
cast_in_role AS (
    SELECT
        *,
        CASE
            WHEN dialect IS NULL THEN NULL
            WHEN role_of_operation IS NOT NULL THEN role_of_operation
            WHEN trim(operation) <> '' AND NOT (has_usage AND model IS NOT NULL) THEN 'other'
            WHEN tool_name IS NOT NULL OR tool_call_id IS NOT NULL THEN 'tool'
            WHEN has_usage OR model IS NOT NULL
                THEN CASE WHEN output_tokens IS NULL AND contains(model, 'embed') THEN 'embeddings' ELSE 'llm' END
            WHEN agent_name IS NOT NULL OR agent_id IS NOT NULL THEN 'agent'
            ELSE 'other'
        END AS role,
        coalesce(usage_rule = 'estimated' AND has_usage, FALSE) AS is_estimated,
        coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) AS cached_as_sent,
        coalesce(reasoning_tokens, 0) AS reasoning_as_sent
    FROM summed
),
-- No call has an input of nothing: who says 0 does not know. Its other counts tell nothing either, unless one is more.
known AS (
    SELECT
        * REPLACE ({known_counts}),
        CASE WHEN is_void THEN 0 ELSE cached_as_sent END AS cached_tokens,
        CASE WHEN is_void THEN 0 ELSE reasoning_as_sent END AS reasoned_tokens
    FROM (
        SELECT
            *,
            has_usage AND coalesce(input_tokens = 0, FALSE) AND cached_as_sent = 0 AS has_zero_input,
            is_estimated OR (
                has_usage AND cached_as_sent = 0
                AND greatest(coalesce(input_tokens, 0), coalesce(output_tokens, 0), reasoning_as_sent) = 0
            ) AS is_void
        FROM cast_in_role
    )
),
-- What decides, in this order: counts that are impossible otherwise; a total that has the cache in it beside the
-- input, or lacks it, for nobody adds that up by mistake; what the library is known for; a total of input and output
-- alone, which many compute without a thought of the cache; the conventions.
totalled AS (
    SELECT
        *,
        total_tokens - coalesce(output_tokens, 0) - input_tokens AS rest,
        cached_tokens > 0 AND cached_tokens <> reasoned_tokens AS can_tell
    FROM known
),
read AS (
    SELECT
        *,
        CASE
            WHEN input_tokens IS NULL OR dialect IS NULL THEN NULL
            WHEN cached_tokens > input_tokens THEN 'cache_exceeds_input'
            WHEN can_tell AND rest IN (cached_tokens, cached_tokens + reasoned_tokens, -cached_tokens)
                THEN 'total_tokens'
            WHEN input_rule IS NOT NULL THEN 'rule'
            WHEN can_tell AND rest IN (0, reasoned_tokens) THEN 'total_tokens'
            ELSE 'convention'
        END AS token_evidence
    FROM totalled
),
understood AS (
    SELECT
        *,
        CASE token_evidence
            WHEN 'cache_exceeds_input' THEN 'exclusive'
            WHEN 'rule' THEN input_rule
            WHEN 'total_tokens'
                THEN CASE
                    WHEN rest IN (cached_tokens, cached_tokens + reasoned_tokens) THEN 'exclusive'
                    ELSE 'inclusive'
                END
            WHEN 'convention' THEN 'unknown'
        END AS token_semantics
    FROM read
),
-- Reasoning, likewise: more of it than output, or a total that has both, proves that it stands beside the output.
reasoned AS (
    SELECT
        *,
        rest - CASE WHEN token_semantics = 'exclusive' AND rest >= cached_tokens THEN cached_tokens ELSE 0 END
            AS unexplained
    FROM understood
),
completed AS (
    SELECT
        *,
        CASE
            WHEN output_tokens IS NULL OR dialect IS NULL THEN NULL
            WHEN reasoned_tokens > output_tokens THEN reasoned_tokens
            WHEN reasoned_tokens > 0 AND (unexplained = reasoned_tokens OR output_rule = 'exclusive')
                THEN reasoned_tokens
            WHEN reasoned_tokens = 0 AND unexplained > 0 AND rest_of_total_rule = 'reasoning' THEN unexplained
        END AS reasoning_apart,
        CASE
            WHEN input_tokens IS NULL OR dialect IS NULL THEN NULL
            WHEN cached_tokens = 0 AND reasoned_tokens = 0 AND unexplained > 0 AND rest_of_total_rule = 'cache'
                THEN unexplained
        END AS cache_apart
    FROM reasoned
),
noted AS (
    SELECT
        *,
        coalesce(zero_cost_rule = 'unknown' AND reported_cost_usd = 0, FALSE) AS found_no_price,
        coalesce(NOT stream AND time_to_first_token_ms IS NOT NULL, FALSE) AS has_time_without_stream,
        coalesce(session_id = response_id OR is_response_id(session_id), FALSE) AND dialect IS NOT NULL
            AS has_no_session,
        output_rule = 'exclusive' AND reasoning_tokens IS NULL AND reasoning_apart IS NULL AND output_tokens IS NOT NULL
            AS lacks_reasoning,
        cache_rule = 'untold' AND cache_read_tokens IS NULL AND cache_write_tokens IS NULL AND cache_apart IS NULL
        AND input_tokens IS NOT NULL
            AS lacks_cache
    FROM completed
),
meaning AS (
    SELECT
        * REPLACE (
            served_by AS provider,
            coalesce(model_region, served_in) AS model_region,
            lower(service_tier) AS service_tier,
            coalesce(batch, CASE WHEN lower(service_tier) = 'batch' THEN TRUE END) AS batch,
            input_tokens
            + CASE WHEN token_semantics = 'exclusive' THEN cached_tokens ELSE 0 END
            + coalesce(cache_apart, 0) AS input_tokens,
            output_tokens + coalesce(reasoning_apart, 0) AS output_tokens,
            CASE WHEN reasoning_apart > 0 THEN reasoning_apart ELSE reasoning_tokens END AS reasoning_tokens,
            CASE WHEN NOT found_no_price THEN reported_cost_usd END AS reported_cost_usd,
            CASE WHEN NOT has_time_without_stream THEN time_to_first_token_ms END AS time_to_first_token_ms,
            CASE WHEN NOT has_no_session THEN session_id END AS session_id
        ),
        CASE
            WHEN dialect IS NOT NULL
                THEN coalesce(
                    account_by_rule(served_by, service_name, user_id, attributes, resource_attributes), served_by
                )
        END AS fallback_account,
        -- Few records have any.
        CASE
            WHEN dialect IS NOT NULL AND (
                has_implausible_count OR is_void OR has_zero_input OR reasoning_apart > 0 OR lacks_reasoning
                OR cache_apart > 0 OR lacks_cache OR found_no_price OR has_time_without_stream OR has_no_session
            )
                THEN list_filter([
                    CASE WHEN has_implausible_count THEN 'implausible_token_count' END,
                    CASE WHEN is_estimated THEN 'estimated_usage_ignored' END,
                    CASE WHEN (is_void OR has_zero_input) AND NOT is_estimated THEN 'zero_usage_ignored' END,
                    CASE WHEN reasoning_apart > 0 THEN 'output_excluded_reasoning' END,
                    CASE WHEN lacks_reasoning THEN 'output_may_lack_reasoning' END,
                    CASE WHEN cache_apart > 0 THEN 'input_completed_by_total' END,
                    CASE WHEN lacks_cache THEN 'input_may_lack_cache' END,
                    CASE WHEN found_no_price THEN 'zero_cost_ignored' END,
                    CASE WHEN has_time_without_stream THEN 'time_to_first_token_without_stream' END,
                    CASE WHEN has_no_session THEN 'session_is_response_id' END
                ], lambda note: note IS NOT NULL)
        END AS new_notes
    FROM noted
)
SELECT {columns}
FROM meaning

-- What the claimed values of spans and log records mean. {source} has the columns of semconv/columns.py and `row`,
-- its number; {columns} are the lake's. Macros and mapping tables: macros.py.
CREATE OR REPLACE TEMP TABLE {target} AS
WITH
-- A count that is negative, or larger than any call could have, is no count.
claimed AS (
    SELECT
        row, scope_name, scope_version, service_name, user_id, attributes, resource_attributes,
        tool_name, tool_call_id, agent_name, agent_id, service_tier, batch,
        nullif(lower(trim(provider)), '') AS provider_as_sent,
        known_provider(lower(trim(provider))) AS canonical,
        nullif(lower(trim(operation)), '') AS operation_as_sent,
        known_role(lower(trim(operation))) AS role_of_operation,
        lower(trim(coalesce(response_model, request_model))) AS model,
        {plausible_counts}
    FROM {source}
    WHERE dialect IS NOT NULL
),
named AS (
    SELECT
        * EXCLUDE (provider_as_sent, canonical),
        CASE
            WHEN canonical IS NULL AND provider_as_sent IS NOT NULL THEN provider_as_sent
            ELSE coalesce(nullif(canonical, ''), infer_provider(model))
        END AS provider,
        input_tokens IS NOT NULL OR output_tokens IS NOT NULL AS has_usage,
        CASE
            WHEN cache_write_5m_tokens IS NULL AND cache_write_30m_tokens IS NULL
            AND cache_write_1h_tokens IS NULL AND cache_write_12h_tokens IS NULL
                THEN cache_write_tokens
            ELSE greatest(
                cache_write_tokens,
                coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_30m_tokens, 0)
                + coalesce(cache_write_1h_tokens, 0) + coalesce(cache_write_12h_tokens, 0)
            )
        END AS written_tokens
    FROM claimed
),
-- An operation that no table knows, or none at all, is judged by what the record claims to be about.
cast_in_role AS (
    SELECT
        * EXCLUDE (operation_as_sent, tool_name, tool_call_id, agent_name, agent_id, model),
        CASE
            WHEN role_of_operation IS NOT NULL THEN role_of_operation
            WHEN operation_as_sent IS NOT NULL AND NOT (has_usage AND model IS NOT NULL) THEN 'other'
            WHEN tool_name IS NOT NULL OR tool_call_id IS NOT NULL THEN 'tool'
            WHEN has_usage OR model IS NOT NULL
                THEN CASE WHEN output_tokens IS NULL AND contains(model, 'embed') THEN 'embeddings' ELSE 'llm' END
            WHEN agent_name IS NOT NULL OR agent_id IS NOT NULL THEN 'agent'
            ELSE 'other'
        END AS role,
        token_rule(scope_name, scope_version, provider) AS rule,
        coalesce(cache_read_tokens, 0) + coalesce(written_tokens, 0) AS cached_tokens
    FROM named
),
-- Numbers that prove a reading go before what the library is known for; a total that fits only one reading, after.
read AS (
    SELECT
        *,
        CASE
            WHEN input_tokens IS NULL THEN NULL
            WHEN cached_tokens > input_tokens THEN 'cache_exceeds_input'
            WHEN rule IS NOT NULL THEN 'rule'
            WHEN cached_tokens = 0 THEN 'convention'
            WHEN total_tokens - coalesce(output_tokens, 0) - input_tokens IN (0, cached_tokens) THEN 'total_tokens'
            ELSE 'convention'
        END AS token_evidence
    FROM cast_in_role
),
understood AS (
    SELECT
        *,
        CASE token_evidence
            WHEN 'cache_exceeds_input' THEN 'exclusive'
            WHEN 'rule' THEN rule
            WHEN 'total_tokens'
                THEN CASE WHEN total_tokens - coalesce(output_tokens, 0) = input_tokens THEN 'inclusive' ELSE 'exclusive' END
            WHEN 'convention' THEN 'unknown'
        END AS token_semantics,
        coalesce(reasoning_tokens > output_tokens, FALSE) AS reasoning_apart
    FROM read
),
meaning AS (
    SELECT
        row, provider, role, token_semantics, token_evidence, {untouched_counts},
        lower(service_tier) AS service_tier,
        coalesce(batch, CASE WHEN lower(service_tier) = 'batch' THEN TRUE END) AS batch,
        written_tokens AS cache_write_tokens,
        input_tokens + CASE WHEN token_semantics = 'exclusive' THEN cached_tokens ELSE 0 END AS input_tokens,
        output_tokens + CASE WHEN reasoning_apart THEN reasoning_tokens ELSE 0 END AS output_tokens,
        coalesce(
            account_by_rule(provider, service_name, user_id, attributes, resource_attributes), provider
        ) AS fallback_account,
        CASE
            WHEN has_implausible_count AND reasoning_apart
                THEN ['implausible_token_count', 'output_excluded_reasoning']
            WHEN has_implausible_count THEN ['implausible_token_count']
            WHEN reasoning_apart THEN ['output_excluded_reasoning']
        END AS new_notes
    FROM understood
)
SELECT {columns}
FROM {source} AS source
LEFT JOIN meaning USING (row)

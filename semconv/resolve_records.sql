-- What the claimed values of spans and log records mean. {source} has the columns of semconv/columns.py; {columns}
-- are the lake's. Macros and mapping tables: macros.py. Money and text pass through untouched.
CREATE OR REPLACE TEMP TABLE {target} AS
WITH
-- A count that is negative, or larger than any call could have, is no count.
counted AS (
    SELECT
        * REPLACE ({plausible_counts}),
        nullif(lower(trim(provider)), '') AS provider_as_sent,
        lower(trim(coalesce(response_model, request_model))) AS model,
        nullif(lower(trim(operation)), '') AS operation_as_sent,
        {implausible} AS has_implausible_count
    FROM {source}
),
named AS (
    SELECT
        * REPLACE (
            CASE
                WHEN dialect IS NULL THEN NULL
                WHEN canonical IS NULL AND provider_as_sent IS NOT NULL THEN provider_as_sent
                ELSE coalesce(nullif(canonical, ''), infer_provider(model))
            END AS provider
        ),
        coalesce(known_role, 'unknown') AS role_of_operation,
        input_tokens IS NOT NULL OR output_tokens IS NOT NULL AS has_usage
    FROM counted
    LEFT JOIN provider_aliases ON alias = provider_as_sent
    LEFT JOIN operation_roles ON known_operation = operation_as_sent
),
-- An operation that no table knows, or none at all, is judged by what the record claims to be about.
cast_in_role AS (
    SELECT
        * REPLACE (
            coalesce(batch, CASE WHEN lower(service_tier) = 'batch' THEN TRUE END) AS batch,
            lower(service_tier) AS service_tier
        ),
        CASE
            WHEN dialect IS NULL THEN NULL
            WHEN role_of_operation <> 'unknown' THEN role_of_operation
            WHEN operation_as_sent IS NOT NULL AND NOT (has_usage AND model IS NOT NULL) THEN 'other'
            WHEN tool_name IS NOT NULL OR tool_call_id IS NOT NULL THEN 'tool'
            WHEN has_usage OR model IS NOT NULL
                THEN CASE WHEN output_tokens IS NULL AND contains(model, 'embed') THEN 'embeddings' ELSE 'llm' END
            WHEN agent_name IS NOT NULL OR agent_id IS NOT NULL THEN 'agent'
            ELSE 'other'
        END AS role
    FROM named
),
summed AS (
    SELECT
        * REPLACE (
            CASE WHEN has_write_parts THEN greatest(cache_write_tokens, written_parts) ELSE cache_write_tokens END
                AS cache_write_tokens
        ),
        token_rule(scope_name, scope_version, provider) AS rule
    FROM (
        SELECT
            *,
            coalesce(
                cache_write_5m_tokens, cache_write_30m_tokens, cache_write_1h_tokens, cache_write_12h_tokens
            ) IS NOT NULL AS has_write_parts,
            coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_30m_tokens, 0)
            + coalesce(cache_write_1h_tokens, 0) + coalesce(cache_write_12h_tokens, 0) AS written_parts
        FROM cast_in_role
    )
),
-- Numbers that prove a reading go before what the library is known for; a total that fits only one reading, after.
read AS (
    SELECT
        *,
        CASE
            WHEN input_tokens IS NULL THEN NULL
            WHEN cached_tokens > input_tokens THEN 'cache_exceeds_input'
            WHEN rule IS NOT NULL THEN 'rule'
            WHEN cached_tokens > 0 AND total_tokens IN (
                input_tokens + coalesce(output_tokens, 0),
                input_tokens + cached_tokens + coalesce(output_tokens, 0)
            ) THEN 'total_tokens'
            ELSE 'convention'
        END AS token_evidence
    FROM (
        SELECT *, coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0) AS cached_tokens FROM summed
    )
),
understood AS (
    SELECT
        *,
        CASE token_evidence
            WHEN 'cache_exceeds_input' THEN 'exclusive'
            WHEN 'rule' THEN rule
            WHEN 'total_tokens' THEN
                CASE WHEN total_tokens = input_tokens + coalesce(output_tokens, 0) THEN 'inclusive' ELSE 'exclusive' END
            WHEN 'convention' THEN 'unknown'
        END AS token_semantics,
        coalesce(reasoning_tokens > output_tokens, FALSE) AS reasoning_apart
    FROM read
),
accounted AS (
    SELECT
        * REPLACE (
            CASE WHEN token_semantics = 'exclusive' THEN input_tokens + cached_tokens ELSE input_tokens END
                AS input_tokens,
            CASE WHEN reasoning_apart THEN output_tokens + reasoning_tokens ELSE output_tokens END AS output_tokens,
            coalesce(
                nullif(trim(bound_billing_account), ''),
                nullif(trim(billing_account), ''),
                nullif(trim(resource_billing_account), ''),
                account_by_rule(provider, service_name, user_id, attributes, resource_attributes),
                provider
            ) AS billing_account,
            coalesce(
                nullif(lower(trim(plan_tier)), ''),
                nullif(lower(trim(resource_plan_tier)), '')
            ) AS plan_tier,
            CASE
                WHEN has_implausible_count OR reasoning_apart
                    THEN list_concat(coalesce(notes, []), list_filter([
                        CASE WHEN has_implausible_count THEN 'implausible_token_count' END,
                        CASE WHEN reasoning_apart THEN 'output_excluded_reasoning' END
                    ], lambda note: note IS NOT NULL))
                ELSE notes
            END AS notes
        )
    FROM understood
),
planned AS (
    SELECT
        * REPLACE (
            coalesce(
                plan_tier,
                CASE
                    WHEN dialect IS NOT NULL
                        THEN coalesce(declared_plan(billing_account, {time}::DATE), default_plan_tier())
                END
            ) AS plan_tier
        )
    FROM accounted
)
SELECT {columns}
FROM planned

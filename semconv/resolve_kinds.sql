-- What combinations of names tell (kinds.py): named_records holds each once.
WITH
lowered AS (
    SELECT
        * REPLACE (
            nullif(lower(trim(provider)), '') AS provider,
            nullif(lower(trim(operation)), '') AS operation,
            lower(trim(request_model)) AS request_model,
            lower(trim(response_model)) AS response_model
        )
    FROM named_records
),
named AS (
    SELECT
        lowered.*,
        operation_roles.meant AS role_of_operation,
        CASE
            WHEN provider_names.meant IS NULL THEN without_api(provider)
            ELSE nullif(provider_names.meant, '')
        END AS named_provider,
        host_provider(regexp_extract(lower(server_address), '^(?:[a-z]+://)?([^/:?#]+)', 1)) AS asked_provider
    FROM lowered
    LEFT JOIN provider_names ON provider_names.sent = provider
    LEFT JOIN operation_roles ON operation_roles.sent = operation
),
served AS (
    SELECT
        *,
        CASE
            WHEN asked_provider IS NOT NULL AND may_be_another(named_provider) THEN asked_provider
            WHEN named_provider IS NOT NULL THEN coalesce(real_provider(named_provider, request_model), named_provider)
            ELSE coalesce(infer_provider(request_model), infer_provider(response_model))
        END AS served_by
    FROM named
)
SELECT
    served_by,
    role_of_operation,
    CASE
        WHEN served_by IN ('aws.bedrock', 'gcp.vertex_ai', 'azure.ai.openai', 'azure.ai.inference')
            THEN coalesce(region_of(request_model), region_of(response_model))
    END AS served_in,
    input_rule(scope_name, scope_version, served_by, dialect, event_name, stream, signs) AS input_rule,
    output_rule(scope_name, scope_version, served_by, dialect, event_name, stream, signs) AS output_rule,
    cache_rule(scope_name, scope_version, served_by, dialect, event_name, stream, signs) AS cache_rule,
    rest_of_total_rule(scope_name, scope_version, served_by, dialect, event_name, stream, signs) AS rest_of_total_rule,
    usage_rule(scope_name, scope_version, served_by, dialect, event_name, stream, signs) AS usage_rule,
    zero_cost_rule(scope_name, scope_version, served_by, dialect, event_name, stream, signs) AS zero_cost_rule
FROM served
ORDER BY row

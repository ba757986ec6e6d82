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
served AS (
    SELECT
        lowered.*,
        operation_roles.meant AS role_of_operation,
        CASE
            WHEN provider_names.meant <> ''
                THEN coalesce(real_provider(provider_names.meant, request_model), provider_names.meant)
            WHEN provider_names.meant IS NULL AND provider IS NOT NULL THEN without_api(provider)
            ELSE coalesce(infer_provider(request_model), infer_provider(response_model))
        END AS served_by
    FROM lowered
    LEFT JOIN provider_names ON provider_names.sent = provider
    LEFT JOIN operation_roles ON operation_roles.sent = operation
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

-- What the claimed values of metric points mean; see resolve_records.sql.
CREATE OR REPLACE TEMP TABLE {target} AS
WITH
named AS (
    SELECT
        * REPLACE (
            CASE
                WHEN dialect IS NULL THEN NULL
                WHEN canonical IS NULL AND provider IS NOT NULL AND trim(provider) <> '' THEN lower(trim(provider))
                ELSE coalesce(
                    nullif(canonical, ''), infer_provider(lower(trim(coalesce(response_model, request_model))))
                )
            END AS provider
        )
    FROM {source}
    LEFT JOIN provider_aliases ON alias = lower(trim(provider))
),
accounted AS (
    SELECT
        * REPLACE (
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
            ) AS plan_tier
        )
    FROM named
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

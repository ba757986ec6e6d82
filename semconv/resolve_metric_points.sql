-- What the claimed values of metric points mean; see resolve_records.sql.
CREATE OR REPLACE TEMP TABLE {target} AS
WITH
meaning AS (
    SELECT
        row,
        CASE
            WHEN known_provider(lower(trim(provider))) IS NULL AND trim(provider) <> '' THEN lower(trim(provider))
            ELSE coalesce(
                nullif(known_provider(lower(trim(provider))), ''),
                infer_provider(lower(trim(coalesce(response_model, request_model))))
            )
        END AS provider,
        coalesce(
            account_by_rule(provider, service_name, user_id, attributes, resource_attributes), provider
        ) AS fallback_account,
        NULL::VARCHAR[] AS new_notes
    FROM {source}
    WHERE dialect IS NOT NULL
)
SELECT {columns}
FROM {source} AS source
LEFT JOIN meaning USING (row)

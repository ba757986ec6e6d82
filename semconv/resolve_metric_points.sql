-- What the claimed values of metric points mean; see resolve_records.sql.
WITH
noted AS (
    SELECT *, dialect IS NOT NULL AND coalesce(is_response_id(session_id), FALSE) AS has_no_session
    FROM extracted
),
meaning AS (
    SELECT
        * REPLACE (
            served_by AS provider,
            CASE WHEN NOT has_no_session THEN session_id END AS session_id
        ),
        CASE
            WHEN dialect IS NOT NULL
                THEN coalesce(
                    account_by_rule(served_by, service_name, user_id, attributes, resource_attributes), served_by
                )
        END AS fallback_account,
        CASE WHEN has_no_session THEN ['session_is_response_id'] END AS new_notes
    FROM noted
)
SELECT {columns}
FROM meaning

-- What senders say that their calls cost beside the list price, per service, library, model, pricing mode and what is
-- known of ours; totals per mode and what is known of ours (is_total). Amounts are of calls that have both.
-- The first two are reported_calls.sql and call_libraries.sql.
WITH
window_calls AS NOT MATERIALIZED (
{window_calls}
),
libraries AS (
{libraries}
),
grouped AS (
    SELECT
        coalesce(service_name, '') AS service,
        library,
        dialect,
        model,
        pricing_mode,
        ours,
        FALSE AS is_total,
        count(*) FILTER (has_both) AS calls_with_both,
        count(*) FILTER (reported_cost_usd IS NOT NULL AND NOT has_both) AS calls_only_reported,
        count(*) FILTER (cost_usd IS NOT NULL AND NOT has_both) AS calls_only_ours,
        count(*) FILTER (has_both AND agrees) AS calls_agreeing,
        count(*) FILTER (reported_cost_usd = 0 AND cost_usd > 0) AS calls_reported_as_nothing,
        sum(reported_cost_usd) FILTER (has_both) AS reported_usd,
        sum(cost_usd) FILTER (has_both) AS ours_usd,
        sum(cost_low_usd) FILTER (has_both) AS low_usd,
        sum(cost_high_usd) FILTER (has_both) AS high_usd
    FROM libraries
    GROUP BY service, library, dialect, model, pricing_mode, ours
),
-- Of the groups, which takes next to nothing; a second grouping of all calls would take as long as the first.
totals AS (
    SELECT
        NULL AS service,
        NULL AS library,
        NULL AS dialect,
        NULL AS model,
        pricing_mode,
        ours,
        TRUE AS is_total,
        sum(COLUMNS('calls_.*'))::BIGINT,
        sum(COLUMNS('.*_usd'))
    FROM grouped
    GROUP BY pricing_mode, ours
)
SELECT
    * REPLACE (nullif(service, '') AS service, nullif(library, '') AS library),
    reported_usd - ours_usd AS difference_usd,
    (reported_usd / nullif(ours_usd, 0))::DOUBLE AS ratio
FROM (FROM grouped UNION ALL FROM totals)
WHERE calls_with_both + calls_only_reported + calls_only_ours > 0
-- Where nobody reports, nothing can be compared.
QUALIFY sum(calls_with_both + calls_only_reported) OVER (PARTITION BY service, library, dialect, model, pricing_mode) > 0
ORDER BY
    is_total, list_position({modes}, pricing_mode), abs(difference_usd) DESC NULLS LAST,
    service NULLS LAST, library NULLS LAST, dialect NULLS LAST, model NULLS LAST, ours

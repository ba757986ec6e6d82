-- What days cost: all of them (`kind` 'day') and by model and user, by pricing mode. Days are counted from the start of
-- the history (day_sql in window.py), `$first` is the first that is judged. Calls without a known cost are in no sum.
-- One row per thing that is judged, those that cost most on a day: its days and their costs; and one per kind (`days`
-- NULL) with how many days of things there were to judge, and how many things have too few days.
WITH daily AS (
    SELECT
        CASE grouping(model, user_id) WHEN 3 THEN 'day' WHEN 1 THEN 'model' ELSE 'user' END AS kind,
        CASE grouping(model, user_id) WHEN 1 THEN model WHEN 2 THEN user_id END AS name,
        pricing_mode,
        day,
        sum(cost_usd) AS cost_usd
    FROM (
        SELECT coalesce(response_model, request_model) AS model, user_id, pricing_mode, {day} AS day, cost_usd
        FROM calls
        WHERE start_time >= $start AND start_time < $end AND cost_usd > 0
    )
    GROUP BY GROUPING SETS ((pricing_mode, day), (model, pricing_mode, day), (user_id, pricing_mode, day))
    HAVING kind = 'day' OR name IS NOT NULL
),

things AS (
    SELECT
        kind, name, pricing_mode,
        count(*) FILTER (WHERE day >= $first) AS days_examined,
        max(cost_usd) FILTER (WHERE day >= $first) AS most_usd,
        count(*) >= $least_days AS has_history,
        list(day ORDER BY day) AS days,
        list(cost_usd ORDER BY day) AS costs
    FROM daily
    GROUP BY kind, name, pricing_mode
    HAVING days_examined > 0
)

SELECT kind, NULL AS name, NULL AS pricing_mode, NULL AS days, NULL AS costs,
    coalesce(sum(days_examined) FILTER (WHERE has_history), 0)::BIGINT AS examined,
    count(*) FILTER (WHERE NOT has_history AND most_usd >= $least_usd) AS without_history
FROM things
GROUP BY kind
UNION ALL
(
    SELECT kind, name, pricing_mode, days, costs, NULL, NULL
    FROM things
    WHERE has_history AND (kind = 'day' OR most_usd >= $least_usd)
    QUALIFY row_number() OVER (PARTITION BY kind ORDER BY most_usd DESC, name, pricing_mode) <= $most
)
ORDER BY kind, name, pricing_mode

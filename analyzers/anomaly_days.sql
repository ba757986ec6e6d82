-- What days cost: all of them (`kind` 'day') and by agent, model and user, by pricing mode. Days are counted from the
-- start of the history (day_sql in window.py), `$first` is the first that is judged. Calls without a known cost are in no
-- sum. One row per thing that is judged, those that cost most on a day: its days, their costs, of how many parts each is
-- made and how dear these are; and one per kind (`days` NULL) with how many days of things there were to judge, and how
-- many things have too few days.
--
-- How long and how dear a part (anomaly_parts.sql) is: the ranks of its number of calls and of their mean cost among the
-- parts of the same agent and model, as values of the normal distribution, so that a few huge ones count no more than
-- others.
WITH ranked AS (
    SELECT
        *,
        -- Of equal ones the middle rank.
        (rank() OVER by_calls + count(*) OVER by_calls) / 2 / (1 + count(*) OVER alike) AS longer,
        (rank() OVER by_cost + count(*) OVER by_cost) / 2 / (1 + count(*) OVER alike) AS dearer
    FROM anomaly_parts
    WINDOW
        alike AS (PARTITION BY pricing_mode, agent, model),
        by_calls AS (PARTITION BY pricing_mode, agent, model ORDER BY calls),
        by_cost AS (PARTITION BY pricing_mode, agent, model ORDER BY call_usd)
),

daily AS (
    SELECT
        CASE grouping(agent, model, user_id) WHEN 7 THEN 'day' WHEN 3 THEN 'agent' WHEN 5 THEN 'model' ELSE 'user' END AS kind,
        coalesce(agent, model, user_id) AS name,
        pricing_mode,
        day,
        sum(cost_usd) AS cost_usd,
        count(*) AS parts,
        -- The normal distribution's quantile but for a hundredth of a deviation (Tukey's lambda distribution).
        avg(4.91 * (longer ** 0.14 - (1 - longer) ** 0.14)) AS length,
        avg(4.91 * (dearer ** 0.14 - (1 - dearer) ** 0.14)) AS dearness
    FROM ranked
    GROUP BY GROUPING SETS (
        (pricing_mode, day), (agent, pricing_mode, day), (model, pricing_mode, day), (user_id, pricing_mode, day)
    )
    HAVING kind = 'day' OR name IS NOT NULL
),

things AS (
    SELECT
        kind, name, pricing_mode,
        count(*) FILTER (WHERE day >= $first) AS days_examined,
        max(cost_usd) FILTER (WHERE day >= $first) AS most_usd,
        max(cost_usd) AS ever_usd,
        count(*) >= $least_days AS has_history,
        list(day ORDER BY day) AS days,
        list(cost_usd ORDER BY day) AS costs,
        list(parts ORDER BY day) AS parts,
        list(length ORDER BY day) AS length,
        list(dearness ORDER BY day) AS dearness
    FROM daily
    GROUP BY kind, name, pricing_mode
    -- All and single agents can fall silent.
    HAVING days_examined > 0 OR kind IN ('day', 'agent')
)

SELECT kind, NULL AS name, NULL AS pricing_mode, NULL AS days, NULL AS costs, NULL AS parts, NULL AS length, NULL AS dearness,
    coalesce(sum(days_examined) FILTER (WHERE has_history), 0)::BIGINT AS examined,
    count(*) FILTER (WHERE NOT has_history AND most_usd >= $least_usd) AS without_history
FROM things
GROUP BY kind
UNION ALL
(
    SELECT kind, name, pricing_mode, days, costs, parts, length, dearness, NULL, NULL
    FROM things
    WHERE has_history AND (kind = 'day' OR CASE kind WHEN 'agent' THEN ever_usd ELSE most_usd END >= $least_usd)
    QUALIFY row_number()
        OVER (PARTITION BY kind ORDER BY most_usd DESC NULLS LAST, ever_usd DESC, name, pricing_mode) <= $most
)
ORDER BY kind, name, pricing_mode

-- What was told last of each key, that it holds (raised) or that it does not hold any more (resolved), and how that went on
-- each channel.
WITH told AS (
    SELECT
        alert_id, rule, event_key, state, recorded_at, channels, alert,
        max(recorded_at) FILTER (WHERE state = 'raised') OVER (PARTITION BY event_key) AS raised_at
    FROM lake.alerts
    WHERE state IN ('raised', 'resolved')
    QUALIFY row_number() OVER (PARTITION BY event_key ORDER BY recorded_at DESC, state DESC, alert_id) = 1
),

ended AS (
    SELECT alert_id, map_from_entries(list((channel, state))) AS states
    FROM (SELECT DISTINCT alert_id, channel, state FROM lake.alerts WHERE state NOT IN ('raised', 'resolved'))
    GROUP BY alert_id
)

SELECT
    told.alert_id,
    told.rule,
    told.event_key,
    coalesce(told.raised_at, told.recorded_at) AS raised_at,
    told.channels,
    -- What everybody has is not asked for again.
    CASE WHEN coalesce(cardinality(ended.states), 0) < len(told.channels) THEN told.alert::VARCHAR END AS alert,
    ended.states,
    told.state,
    told.recorded_at
FROM told
LEFT JOIN ended USING (alert_id)
ORDER BY told.recorded_at, told.alert_id

-- What was raised last of each key, and how it went on each channel.
WITH raised AS (
    SELECT alert_id, rule, event_key, recorded_at, channels, alert
    FROM lake.alerts
    WHERE state = 'raised'
    QUALIFY row_number() OVER (PARTITION BY event_key ORDER BY recorded_at DESC, alert_id) = 1
),

ended AS (
    SELECT alert_id, map_from_entries(list((channel, state))) AS states
    FROM (SELECT DISTINCT alert_id, channel, state FROM lake.alerts WHERE state <> 'raised')
    GROUP BY alert_id
)

SELECT
    raised.alert_id,
    raised.rule,
    raised.event_key,
    raised.recorded_at,
    raised.channels,
    -- What everybody has is not asked for again.
    CASE WHEN coalesce(cardinality(ended.states), 0) < len(raised.channels) THEN raised.alert::VARCHAR END AS alert,
    ended.states
FROM raised
LEFT JOIN ended USING (alert_id)
ORDER BY raised.recorded_at, raised.alert_id

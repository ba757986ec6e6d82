-- Known cost by pricing mode and day of the window (day_sql in window.py).
SELECT pricing_mode, {day} AS day, sum(cost_usd) AS cost_usd
FROM calls
WHERE start_time >= $start AND start_time < $end AND cost_usd IS NOT NULL AND input_tokens IS NOT NULL
GROUP BY ALL
ORDER BY ALL

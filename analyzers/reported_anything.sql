-- A row where any call of the window says what it cost.
SELECT 1
FROM calls
WHERE start_time >= $start AND start_time < $end AND reported_cost_usd IS NOT NULL
LIMIT 1

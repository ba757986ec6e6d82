-- The calls of one budget that used most of it from $start to before $end, by {unit}.
SELECT call_id
FROM calls
WHERE start_time >= $start AND start_time < $end AND {condition}
ORDER BY {unit} DESC NULLS LAST, call_id
LIMIT 5

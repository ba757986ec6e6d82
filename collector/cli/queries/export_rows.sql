SELECT *
FROM {relation}
WHERE start_time >= $start AND start_time < $end
ORDER BY start_time, {key}

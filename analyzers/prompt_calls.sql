SELECT count(*)
FROM calls
WHERE start_time >= $start AND start_time < $end AND {of}

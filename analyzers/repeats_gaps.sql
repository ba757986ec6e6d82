-- Model calls of the window.
SELECT count(*)
FROM calls
WHERE start_time >= $start AND start_time < $end AND role = 'llm'

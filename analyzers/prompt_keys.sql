SELECT DISTINCT key
FROM contents
WHERE start_time >= $start - INTERVAL 1 HOUR
    AND start_time < $end + INTERVAL 1 HOUR
    AND kind IN ('prompts', 'tool_inputs', 'tool_outputs')

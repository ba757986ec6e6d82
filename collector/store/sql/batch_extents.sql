-- From when to when the batch's spans and calls last, joined by the hour of their start.
SELECT
    min(start_time),
    max(start_time + to_microseconds(least(coalesce(duration_ns, 0), {longest_ns}) // 1000))
FROM parts
GROUP BY date_trunc('hour', start_time)

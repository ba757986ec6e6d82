-- From when to when the batch's spans and calls last, joined by the hour of their start.
SELECT
    min(start_time),
    max(start_time + to_microseconds(least(coalesce(duration_ns, 0), {longest_ns}) // 1000))
FROM (
    SELECT start_time, duration_ns FROM resolved_spans
    UNION ALL
    SELECT start_time, duration_ns FROM new_call_logs
)
GROUP BY date_trunc('hour', start_time)

-- From when to when these parts of traces last, joined by the hour.
WITH
extents AS (
    SELECT
        min(start_time) AS start_time,
        max(start_time + to_microseconds(least(coalesce(duration_ns, 0), {longest_ns}) // 1000)) AS end_time
    FROM parts
    SEMI JOIN wanted USING (tenant, trace_id)
    GROUP BY tenant, trace_id
)
SELECT min(start_time), max(end_time)
FROM extents
GROUP BY date_trunc('hour', start_time)

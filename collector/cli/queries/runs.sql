-- The runs that began between $start and $end, latest first; $analyzers: of these alone.
SELECT
    runs.run_id,
    started_at,
    runs.analyzer,
    trigger,
    scheduled_at,
    window_start,
    window_end,
    status,
    date_diff('millisecond', started_at, finished_at) / 1000 AS seconds,
    count(findings.run_id) AS findings,
    error
FROM runs
LEFT JOIN findings ON findings.run_id = runs.run_id
WHERE started_at >= $start AND started_at < $end AND ($analyzers IS NULL OR runs.analyzer IN $analyzers)
GROUP BY ALL
ORDER BY started_at DESC, runs.analyzer, runs.run_id

-- Of each analyzer the latest run that gave a result; $analyzers: of these alone.
SELECT run_id, trigger, finished_at, result
FROM runs
WHERE run_id IN (
    SELECT max_by(run_id, (finished_at, run_id))
    FROM runs
    WHERE status = 'ok' AND result IS NOT NULL AND ($analyzers IS NULL OR analyzer IN $analyzers)
    GROUP BY analyzer
)
ORDER BY analyzer

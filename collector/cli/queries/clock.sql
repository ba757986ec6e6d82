-- Spans received since $since whose end lies after their arrival by more than a minute: a sender's clock runs ahead.
WITH received AS (
    SELECT service_name, epoch_ns(received_at) - end_unix_nano AS age_ns
    FROM spans
    WHERE received_at >= $since AND start_time >= $since AND source = 'otlp'
)

SELECT
    coalesce(service_name, '(no service.name)') AS service,
    count(*) AS spans,
    max(-age_ns) / 1e9 AS seconds_ahead
FROM received
WHERE age_ns < -60_000_000_000
GROUP BY service
ORDER BY seconds_ahead DESC
LIMIT 5

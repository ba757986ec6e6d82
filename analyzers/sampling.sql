-- Services whose traces were thinned out before they were sent, and the smallest share that any of them kept. The
-- threshold is that of OpenTelemetry's trace state: `th` under `ot`, hexadecimal digits of a fraction of 2**56 that was
-- turned away, trailing zeros left out; 0 turns nothing away.
WITH thresholds AS (
    SELECT service_name, regexp_extract(trace_state, '(?:^|,)\s*ot=(?:[^,]*;)?th:([0-9a-f]{{1,14}})(?:;|,|\s|$)', 1) AS threshold
    FROM spans
    WHERE start_time >= $start AND start_time < $end AND contains(trace_state, 'th:')
)
SELECT
    coalesce(service_name, '') AS service,
    count(*) AS spans,
    min(1 - ('0x' || rpad(threshold, 14, '0'))::UBIGINT / 72057594037927936) AS kept_share
FROM thresholds
WHERE ltrim(threshold, '0') <> ''
GROUP BY ALL
ORDER BY spans DESC, service

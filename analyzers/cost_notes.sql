-- How many calls carry each cost_note. Failed calls without usage are what they are and lack nothing.
SELECT
    cost_note,
    count(*) AS calls,
    count(*) FILTER (status_code = 'ERROR' AND input_tokens IS NULL AND output_tokens IS NULL) AS failed
FROM calls
WHERE start_time >= $start AND start_time < $end AND cost_note IS NOT NULL
GROUP BY cost_note
ORDER BY calls DESC, cost_note

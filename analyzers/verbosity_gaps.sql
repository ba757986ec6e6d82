-- Answered calls of the window, and those of them whose length is not known, or what their output cost.
SELECT
    count(*) AS calls,
    count(*) FILTER (output_tokens IS NULL) AS untold,
    count(*) FILTER (output_tokens > 0 AND cost_output_usd IS NULL AND pricing_mode <> 'local') AS unpriced
FROM calls
WHERE start_time >= $start AND start_time < $end AND role = 'llm' AND status_code <> 'ERROR'

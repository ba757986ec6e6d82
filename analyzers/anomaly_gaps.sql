-- Calls of the judged days that are in no sum, as nobody knows what they cost. Local ones cost nothing by design.
SELECT count(*)
FROM calls
WHERE start_time >= $start AND start_time < $end AND cost_usd IS NULL AND pricing_mode <> 'local'

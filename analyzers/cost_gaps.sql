-- Why calls have no cost, the commonest reason first. Local calls have none by design.
WITH without_cost AS (
    SELECT
        status_code = 'ERROR' AND input_tokens IS NULL AND output_tokens IS NULL AS failed_without_usage,
        cost_note
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND cost_usd IS NULL AND pricing_mode <> 'local'
)

SELECT
    CASE WHEN failed_without_usage THEN 'failed without usage' ELSE coalesce(cost_note, 'unknown') END AS reason,
    count(*) AS calls
FROM without_cost
GROUP BY reason
ORDER BY calls DESC, reason

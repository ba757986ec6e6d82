-- A script asks no model what to do next (finding.CLAIMS); it is sure where no arguments need one either.
SELECT
    number || ' ' || pricing_mode AS candidate,
    call_id,
    CASE WHEN is_sure THEN cost_usd ELSE 0 END AS low_usd,
    cost_usd AS high_usd,
    tokens
FROM workflow_calls
WHERE cost_usd > 0 OR tokens > 0

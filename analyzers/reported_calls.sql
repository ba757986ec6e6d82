    -- The calls of a window with what is known of their cost. Senders calculate in binary fractions and round: what
    -- stands within a hundredth of ours, or of either end of it, agrees.
    SELECT
        call_id, tenant, trace_id, span_id, signal, members, service_name, dialect, pricing_mode,
        coalesce(response_model, request_model) AS model,
        reported_cost_usd, cost_usd, cost_note,
        coalesce(cost_low_usd, cost_usd) AS cost_low_usd,
        coalesce(cost_high_usd, cost_usd) AS cost_high_usd,
        reported_cost_usd IS NOT NULL AND cost_usd IS NOT NULL AS has_both,
        CASE WHEN reported_cost_usd IS NOT NULL THEN
            reported_cost_usd
                BETWEEN coalesce(cost_low_usd, cost_usd) * 0.99 AND coalesce(cost_high_usd, cost_usd) * 1.01
        END AS agrees,
        CASE
            WHEN cost_usd IS NULL THEN 'unknown'
            WHEN cost_low_usd < cost_high_usd THEN 'estimated'
            ELSE 'measured'
        END AS ours
    FROM calls
    WHERE start_time >= $start AND start_time < $end

-- What other prices do to each model's calls.
SELECT
    call.named_model,
    {priced_as} AS priced_as,
    call.stored_pricing_mode AS mode_before,
    cost.pricing_mode AS mode_after,
    count(*) AS calls,
    count(*) FILTER ({differs}) AS changed,
    count(*) FILTER (call.stored_cost_usd IS NULL) AS unpriced_before,
    count(*) FILTER (cost.cost_usd IS NULL) AS unpriced_after,
    sum(call.stored_cost_usd) AS before,
    sum(cost.cost_usd) AS after
FROM {to_price} AS call
JOIN call_costs AS cost USING (node)
GROUP BY ALL

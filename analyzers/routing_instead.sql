-- What the calls of each router cost, and would have cost all by one of its models: calls without a price there in neither.
SELECT
    instead.number,
    any_value(instead.model) AS model,
    count(*) AS calls,
    sum(instead.cost_usd) AS cost_usd,
    sum(priced.cost_usd) AS instead_usd
FROM routing_instead AS instead
JOIN routing_prices AS priced ON priced.node = instead.node
WHERE priced.cost_usd IS NOT NULL
GROUP BY instead.number

-- What was spent: calls that are billed per use alone, with how many of them nobody knows the cost of.
SELECT sum(cost_usd) AS spend_usd, count(*) - count(cost_usd) AS calls_without_cost
FROM calls
WHERE start_time >= $start AND start_time < $end AND pricing_mode = 'api'

-- What was used of budgets' parts, each in one row; the tables hold it in several.
SELECT
    budget,
    value,
    sum(amount)::DECIMAL(38, 12) AS amount,
    sum(calls)::BIGINT AS calls,
    sum(calls_unknown)::BIGINT AS calls_unknown,
    sum(subscription_calls)::BIGINT AS subscription_calls,
    sum(local_calls)::BIGINT AS local_calls,
    sum(undeclared_calls)::BIGINT AS undeclared_calls
FROM ({tables})
WHERE {wanted}
GROUP BY budget, value

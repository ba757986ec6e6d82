-- What calls that start from $start until before $end use of each budget's period.
WITH
cells AS MATERIALIZED (
    {cells}
),
used AS (
    {used}
),
-- From which stretch of time to before which one a period reaches; value NULL: of all values that have none of their own.
periods (budget, value, first, next) AS (
    VALUES {periods}
)
SELECT
    used.budget,
    used.value,
    sum(used.amount)::DECIMAL(38, 12) AS amount,
    sum(used.calls)::BIGINT AS calls,
    sum(used.calls_unknown)::BIGINT AS calls_unknown,
    sum(used.subscription_calls)::BIGINT AS subscription_calls,
    sum(used.local_calls)::BIGINT AS local_calls,
    sum(used.undeclared_calls)::BIGINT AS undeclared_calls
FROM used
JOIN periods AS usual ON usual.budget = used.budget AND usual.value IS NULL
LEFT JOIN periods AS own ON own.budget = used.budget AND own.value = used.value
WHERE used.value IS NOT NULL
  AND used.stretch >= coalesce(own.first, usual.first)
  AND used.stretch < coalesce(own.next, usual.next)
GROUP BY used.budget, used.value

-- What one budget counts of the cells: `amount` in its unit, `calls_unknown` those that are not in it for want of a
-- cost, or of tokens. `value`: that of the dimension of which each value has the budget, NULL where a call has none.
SELECT
    {number} AS budget,
    {value} AS value,
    {carried},
    calls,
    {unit} AS amount,
    {unknown} AS calls_unknown,
    subscription_calls,
    local_calls,
    undeclared_calls
FROM cells
WHERE {condition}

-- Per budget, and per value of a budget of each: its period with what was used, the days before now (NULL: nothing on
-- that day), and who used most. {top}: most values of one budget that are looked at; all are counted.
WITH
cells AS MATERIALIZED (
    {cells}
),
used AS (
    {used}
),
-- value NULL: of all values that have no period of their own.
periods (budget, value, first_day, next_day) AS (
    VALUES {periods}
),
placed AS (
    SELECT
        used.*,
        coalesce(own.first_day, usual.first_day) AS first_day,
        coalesce(own.next_day, usual.next_day) AS next_day,
        used.day >= coalesce(own.first_day, usual.first_day)
            AND used.day < coalesce(own.next_day, usual.next_day) AS in_period
    FROM used
    JOIN periods AS usual ON usual.budget = used.budget AND usual.value IS NULL
    LEFT JOIN periods AS own ON own.budget = used.budget AND own.value = used.value
),
standing AS (
    SELECT
        budget,
        value,
        any_value(first_day) AS first_day,
        any_value(next_day) AS next_day,
        coalesce(sum(calls) FILTER (in_period), 0)::BIGINT AS calls,
        coalesce(sum(amount) FILTER (in_period), 0)::DECIMAL(38, 12) AS amount,
        coalesce(sum(calls_unknown) FILTER (in_period), 0)::BIGINT AS calls_unknown,
        coalesce(sum(subscription_calls) FILTER (in_period), 0)::BIGINT AS subscription_calls,
        coalesce(sum(local_calls) FILTER (in_period), 0)::BIGINT AS local_calls,
        coalesce(sum(undeclared_calls) FILTER (in_period), 0)::BIGINT AS undeclared_calls
    FROM placed
    GROUP BY budget, value
),
ranked AS (
    SELECT
        *,
        count(*) FILTER (value IS NOT NULL) OVER (PARTITION BY budget) AS further_values,
        row_number() OVER (PARTITION BY budget, value IS NULL ORDER BY amount DESC, value) AS rank
    FROM standing
    WHERE calls > 0
),
looked_at AS (
    SELECT * FROM ranked WHERE rank <= {top} OR value IS NULL
),
daily AS (
    SELECT
        budget,
        value,
        day,
        sum(amount)::DECIMAL(38, 12) AS amount,
        sum(amount) FILTER (is_later)::DECIMAL(38, 12) AS later
    FROM placed
    SEMI JOIN looked_at ON looked_at.budget = placed.budget AND looked_at.value IS NOT DISTINCT FROM placed.value
    GROUP BY budget, value, day
),
days AS (
    SELECT
        budget,
        value,
        list(struct_pack(day := day, amount := amount, later := coalesce(later, 0)) ORDER BY day) AS days
    FROM daily
    GROUP BY budget, value
),
by_model_and_agent AS (
    SELECT
        budget,
        value,
        if(grouping(model) = 0, 'model', 'agent') AS what,
        coalesce(model, agent) AS name,
        sum(amount) AS amount
    FROM placed
    WHERE in_period AND amount > 0
    GROUP BY GROUPING SETS ((budget, value, model), (budget, value, agent))
),
tops AS (
    SELECT
        budget,
        value,
        list(struct_pack(name := name, amount := amount) ORDER BY amount DESC, name) FILTER (what = 'model')[:3] AS models,
        list(struct_pack(name := name, amount := amount) ORDER BY amount DESC, name) FILTER (what = 'agent')[:3] AS agents
    FROM by_model_and_agent
    GROUP BY budget, value
)
SELECT
    looked_at.* EXCLUDE (rank),
    days.days,
    tops.models,
    tops.agents
FROM looked_at
LEFT JOIN days ON days.budget = looked_at.budget AND days.value IS NOT DISTINCT FROM looked_at.value
LEFT JOIN tops ON tops.budget = looked_at.budget AND tops.value IS NOT DISTINCT FROM looked_at.value
ORDER BY looked_at.budget, looked_at.rank

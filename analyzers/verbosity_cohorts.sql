-- One row per cohort of at least $least_calls answers. `near_tokens`: one in ten is as short, and at most one $factor-th of
-- the median long; an answer of `far_tokens` is as far above the median, as a ratio.
WITH {answers},

cohorts AS (
    SELECT
        cohort,
        any_value(agent) AS agent,
        any_value(service) AS service,
        any_value(model) AS model,
        any_value(operation) AS operation,
        any_value(asks_for_tool) AS asks_for_tool,
        any_value(pricing_mode) AS pricing_mode,
        count(*) AS calls,
        sum(answer_tokens)::BIGINT AS answer_tokens,
        sum(answers.reasoning_tokens)::BIGINT AS reasoning_tokens,
        quantile_cont(answer_tokens, [0.1, 0.5, 0.9]) AS quantiles,
        quantiles[2] AS median_tokens,
        quantiles[3] AS p90_tokens,
        least(quantiles[1], median_tokens / $factor::DOUBLE) AS near_tokens,
        sum(cost_output_usd) AS output_usd
    FROM answers
    GROUP BY cohort
    HAVING count(*) >= $least_calls
)

SELECT * EXCLUDE (quantiles), median_tokens * median_tokens / near_tokens AS far_tokens
FROM cohorts

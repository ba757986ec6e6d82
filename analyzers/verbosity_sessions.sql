-- What parts of cohorts have in each session: their answers, those that are long, from $factor times the cohort's median on,
-- and those that are far above the median or as far below it, as a ratio (`above`, `below`). Surplus is what an answer has
-- beyond the median. Of a session that several parts share, each has its own.
WITH {answers},

measured AS (
    SELECT
        answers.cohort,
        answers.part,
        session,
        cut_off,
        input_tokens,
        answers.answer_tokens >= $factor::DOUBLE * median_tokens AS is_long,
        answers.answer_tokens >= far_tokens AS is_above,
        answers.answer_tokens <= near_tokens AS is_below,
        CASE WHEN is_long OR is_above THEN answers.answer_tokens - median_tokens END AS surplus_tokens,
        CASE WHEN is_long THEN (cost_output_usd::DOUBLE * surplus_tokens / priced_tokens)::DECIMAL(38, 12) END AS surplus_usd
    FROM answers
    JOIN verbosity_cohorts AS cohorts ON cohorts.cohort = answers.cohort
)

SELECT
    cohort,
    part,
    session,
    count(*) AS calls,
    count(*) FILTER (is_long) AS long_calls,
    count(*) FILTER (is_long AND cut_off) AS cut_off_calls,
    sum(surplus_tokens) FILTER (is_long) AS surplus_tokens,
    sum(surplus_usd) AS surplus_usd,
    sum(input_tokens)::BIGINT AS input_tokens,
    count(input_tokens) AS calls_with_input,
    count(*) FILTER (is_above) AS above,
    count(*) FILTER (is_below) AS below,
    count(*) FILTER (is_above AND cut_off) AS above_cut_off,
    sum(surplus_tokens) FILTER (is_above) AS above_surplus_tokens
FROM measured
GROUP BY cohort, part, session

-- Figures of each cohort's parts, and of cohorts as a whole (part_kind 'all'), with what chance needs to know: whether whole
-- sessions are long, more than half of whose answers are. An answer is long from $factor times the cohort's median on; its
-- surplus is what it has beyond the median. `tests`: how many parts of all cohorts could have been found.
WITH {answers},

measured AS (
    SELECT
        answers.cohort,
        answers.part,
        session,
        cut_off,
        input_tokens,
        answers.answer_tokens >= $factor::DOUBLE * median_tokens AS is_long,
        CASE WHEN is_long THEN answers.answer_tokens - median_tokens END AS surplus_tokens,
        CASE WHEN is_long THEN (cost_output_usd::DOUBLE * surplus_tokens / priced_tokens)::DECIMAL(38, 12) END AS surplus_usd
    FROM answers
    JOIN verbosity_cohorts AS cohorts ON cohorts.cohort = answers.cohort
),

-- Of a session that several parts share, each has its own.
sessions AS (
    SELECT
        cohort,
        part,
        session,
        count(*) AS calls,
        count(*) FILTER (is_long) AS long_calls,
        count(*) FILTER (is_long AND cut_off) AS cut_off_calls,
        long_calls * 2 > calls AS is_long,
        sum(surplus_tokens) AS surplus_tokens,
        sum(surplus_usd) AS surplus_usd,
        sum(input_tokens) AS input_tokens,
        count(input_tokens) AS calls_with_input
    FROM measured
    GROUP BY cohort, part, session
),

parts AS (
    SELECT
        cohort,
        part,
        sum(calls) AS calls,
        sum(long_calls) AS long_calls,
        sum(cut_off_calls) AS cut_off_calls,
        count(*) AS sessions,
        count(*) FILTER (is_long) AS long_sessions,
        sum(surplus_tokens) AS surplus_tokens,
        sum(surplus_usd) AS surplus_usd,
        sum(input_tokens) AS input_tokens,
        sum(calls_with_input) AS calls_with_input
    FROM sessions
    GROUP BY cohort, part
)

SELECT
    cohort,
    part,
    is_whole,
    calls::BIGINT AS calls,
    long_calls::BIGINT AS long_calls,
    cut_off_calls::BIGINT AS cut_off_calls,
    sessions::BIGINT AS sessions,
    long_sessions::BIGINT AS long_sessions,
    round(surplus_tokens)::BIGINT AS surplus_tokens,
    surplus_usd,
    input_tokens / nullif(calls_with_input, 0) AS input_per_call,
    (SELECT count(*) FROM parts WHERE part IS NOT NULL) AS tests
FROM (
    SELECT cohort, NULL AS part, TRUE AS is_whole, sum(COLUMNS(* EXCLUDE (cohort, part)))
    FROM parts
    GROUP BY cohort
    UNION ALL BY NAME
    SELECT *, FALSE AS is_whole
    FROM parts
    WHERE part IS NOT NULL AND long_calls * 2 > calls AND calls >= $least_calls
)

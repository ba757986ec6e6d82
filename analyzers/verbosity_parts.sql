-- Figures of each cohort's parts, and of cohorts as a whole (`is_whole`), with what chance needs to know: whether whole
-- sessions are long, more than half of whose answers are. `verbosity_sessions` is what verbosity_sessions.sql gave.
-- `tests`: how many parts of all cohorts could have been found.
WITH
parts AS (
    SELECT
        cohort,
        part,
        sum(calls) AS calls,
        sum(long_calls) AS long_calls,
        sum(cut_off_calls) AS cut_off_calls,
        count(*) AS sessions,
        count(*) FILTER (long_calls * 2 > calls) AS long_sessions,
        sum(surplus_tokens) AS surplus_tokens,
        sum(surplus_usd) AS surplus_usd,
        sum(input_tokens) AS input_tokens,
        sum(calls_with_input) AS calls_with_input
    FROM verbosity_sessions
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

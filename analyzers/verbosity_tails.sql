-- By cohort: answers that are far above the median and such that are as far below it, as a ratio, without those of the parts
-- in `verbosity_found`. Where nothing but chance spreads answers evenly to both sides, as many are far above as are far
-- below, of each session too: `lean` is what all sessions have more above than below, `squares` that squared and added up.
WITH {answers},

far AS (
    SELECT
        answers.cohort,
        session,
        answers.answer_tokens >= far_tokens AS is_above,
        answers.part,
        cut_off,
        CASE WHEN is_above THEN answers.answer_tokens - median_tokens END AS surplus_tokens
    FROM answers
    JOIN verbosity_cohorts AS cohorts ON cohorts.cohort = answers.cohort
    ANTI JOIN verbosity_found AS found ON found.cohort = answers.cohort AND found.part = answers.part
    WHERE answers.answer_tokens >= far_tokens OR answers.answer_tokens <= near_tokens
),

sessions AS (
    SELECT
        cohort,
        count(*) FILTER (is_above) AS above,
        count(*) FILTER (NOT is_above) AS below,
        count(*) FILTER (is_above AND cut_off) AS cut_off_calls,
        sum(surplus_tokens) AS surplus_tokens
    FROM far
    GROUP BY cohort, session
)

SELECT
    cohort,
    sum(above)::BIGINT AS above,
    sum(below)::BIGINT AS below,
    count(*) FILTER (above > 0) AS sessions,
    sum(above - below)::BIGINT AS lean,
    sum((above - below) ** 2)::BIGINT AS squares,
    sum(cut_off_calls)::BIGINT AS cut_off_calls,
    round(sum(surplus_tokens))::BIGINT AS surplus_tokens
FROM sessions
GROUP BY cohort
HAVING lean > 0

-- By cohort: answers that are far above the median and such that are as far below it, as a ratio, without those of the parts
-- in `verbosity_found`. Where nothing but chance spreads answers evenly to both sides, as many are far above as are far
-- below, of each session too: `lean` is what all sessions have more above than below, `squares` that squared and added up.
WITH
sessions AS (
    SELECT
        cohort,
        sum(above) AS above,
        sum(below) AS below,
        sum(above_cut_off) AS cut_off_calls,
        sum(above_surplus_tokens) AS surplus_tokens
    FROM verbosity_sessions AS sessions
    ANTI JOIN verbosity_found AS found ON found.cohort = sessions.cohort AND found.part = sessions.part
    WHERE above > 0 OR below > 0
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

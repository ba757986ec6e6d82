-- Each call goes to one candidate: to that which would save most with all that it claims, tokens where no money is known;
-- names break ties, so that neither the order of loading nor that of the analyzers matters. No call gives more than it
-- cost or had tokens. One row per candidate and day of the window, counted from 0 (day_sql in window.py).
WITH priced AS (
    SELECT
        claim.candidate,
        calls.call_id,
        calls.start_time,
        -- least() passes over what is NULL, and an unknown cost has nothing to give.
        CASE WHEN calls.cost_usd IS NOT NULL AND claim.high_usd IS NOT NULL
            THEN least(claim.high_usd, calls.cost_usd) END AS high_usd,
        CASE WHEN calls.cost_usd IS NOT NULL AND claim.low_usd IS NOT NULL
            THEN least(claim.low_usd, claim.high_usd, calls.cost_usd) END AS low_usd,
        CASE WHEN calls.input_tokens IS NOT NULL AND claim.tokens IS NOT NULL
            THEN least(claim.tokens, calls.input_tokens + coalesce(calls.output_tokens, 0)) END AS tokens
    FROM all_claims AS claim
    JOIN claiming ON claiming.candidate = claim.candidate
    JOIN calls ON calls.call_id = claim.call_id AND calls.pricing_mode = claiming.pricing_mode
    WHERE calls.start_time >= $start AND calls.start_time < $end
),

sized AS (
    SELECT *, sum(high_usd) OVER whole AS whole_usd, sum(tokens) OVER whole AS whole_tokens
    FROM priced
    WINDOW whole AS (PARTITION BY candidate)
),

given AS (
    SELECT *
    FROM sized
    QUALIFY row_number() OVER (
        PARTITION BY call_id ORDER BY whole_usd DESC NULLS LAST, whole_tokens DESC NULLS LAST, candidate
    ) = 1
)

SELECT
    candidate,
    {day} AS day,
    count(*) AS calls,
    sum(low_usd) AS low_usd,
    sum(high_usd) AS high_usd,
    sum(tokens)::BIGINT AS tokens,
    max({{'usd': coalesce(high_usd, 0), 'tokens': coalesce(tokens, 0), 'call_id': call_id}}, 5) AS examples
FROM given
GROUP BY ALL
ORDER BY ALL

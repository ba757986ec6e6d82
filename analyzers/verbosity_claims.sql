-- What long answers would have cost less (finding.CLAIMS): at most all beyond the median; at least what is beyond the length
-- from which on an answer was looked at (`floor_tokens`), of that part of them that chance does not explain (`excess`).
WITH {answers},

found_answers AS (
    SELECT
        found.candidate,
        answers.call_id,
        answers.cost_output_usd::DOUBLE / answers.priced_tokens AS token_usd,
        answers.answer_tokens - cohorts.median_tokens AS surplus_tokens,
        (answers.answer_tokens - found.floor_tokens) * found.excess AS sure_tokens
    FROM answers
    JOIN verbosity_cohorts AS cohorts ON cohorts.cohort = answers.cohort
    JOIN verbosity_found AS found
      ON found.cohort = answers.cohort
     AND CASE
         WHEN found.part IS NOT NULL THEN found.part = answers.part
         ELSE NOT EXISTS (
             SELECT 1
             FROM verbosity_found AS others
             WHERE others.cohort = answers.cohort AND others.part = answers.part
         )
     END
    WHERE answers.answer_tokens >= found.floor_tokens
)

SELECT
    candidate,
    call_id,
    (sure_tokens * token_usd)::DECIMAL(38, 12) AS low_usd,
    (surplus_tokens * token_usd)::DECIMAL(38, 12) AS high_usd,
    floor(sure_tokens)::BIGINT AS tokens
FROM found_answers

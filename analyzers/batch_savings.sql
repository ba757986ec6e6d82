-- What the calls of each group cost, and would have cost in the tier that saves most; the one in which the caller is
-- answered as before, where two save the same.
WITH
groups AS (
    SELECT
        job,
        any_value(agent) AS agent,
        any_value(service) AS service,
        any_value(provider) AS provider,
        any_value(model) AS model,
        any_value(pricing_mode) AS pricing_mode,
        count(*) AS all_calls,
        count(*) FILTER (is_alone) AS lone_calls,
        count(*) FILTER (is_chained) AS chained_calls,
        sum(input_tokens)::BIGINT AS input_tokens,
        sum(cache_read_tokens)::BIGINT AS cache_read_tokens,
        sum(output_tokens)::BIGINT AS output_tokens,
        sum(cost_usd) AS cost_usd
    FROM batch_calls
    GROUP BY job
),
tiers AS (
    SELECT job, tier, count(*) AS calls, sum(low_usd) AS low_usd, sum(high_usd) AS high_usd
    FROM batch_claims
    GROUP BY job, tier
    QUALIFY row_number() OVER (PARTITION BY job ORDER BY sum(high_usd) DESC, tier DESC) = 1
)
SELECT
    tier,
    groups.* EXCLUDE (cost_usd),
    calls,
    batch_jobs.runs,
    batch_jobs.period_seconds,
    batch_jobs.variation,
    cost_usd,
    cost_usd - high_usd AS tier_usd,
    low_usd
FROM groups
JOIN tiers ON tiers.job = groups.job
JOIN batch_jobs ON batch_jobs.job = groups.job
WHERE high_usd > 0
ORDER BY high_usd DESC, agent, service, provider, model, pricing_mode

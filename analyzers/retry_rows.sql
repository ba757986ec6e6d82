-- Figures per agent, model and pricing mode, and per pricing mode alone (is_total); only where something failed or looped.
WITH marked AS (
    SELECT
        agent, model, pricing_mode,
        1 AS failed_calls,
        retried::INTEGER AS retried_calls,
        retry_succeeded::INTEGER AS retries_succeeded,
        (cost_usd IS NULL)::INTEGER AS failed_without_cost,
        cost_usd AS failed_usd,
        tokens AS failed_tokens,
        0 AS looping_calls,
        NULL AS looping_usd,
        NULL::BIGINT AS looping_tokens,
        0 AS suspected_calls
    FROM failed
    UNION ALL
    SELECT
        agent, model, pricing_mode,
        0, 0, 0, 0, NULL, NULL,
        (arguments IS NOT NULL)::INTEGER,
        CASE WHEN arguments IS NOT NULL THEN cost_usd END,
        CASE WHEN arguments IS NOT NULL THEN tokens END,
        (arguments IS NULL)::INTEGER
    FROM looping
),

figures AS (
    SELECT
        agent,
        model,
        pricing_mode,
        sum(failed_calls)::BIGINT AS failed_calls,
        sum(retried_calls)::BIGINT AS retried_calls,
        sum(retries_succeeded)::BIGINT AS retries_succeeded,
        sum(failed_without_cost)::BIGINT AS failed_without_cost,
        sum(failed_tokens)::BIGINT AS failed_tokens,
        sum(failed_usd) AS failed_usd,
        sum(looping_calls)::BIGINT AS looping_calls,
        sum(suspected_calls)::BIGINT AS suspected_calls,
        sum(looping_tokens)::BIGINT AS looping_tokens,
        sum(looping_usd) AS looping_usd,
        grouping(agent, model) > 0 AS is_total
    FROM marked
    GROUP BY GROUPING SETS ((agent, model, pricing_mode), (pricing_mode))
)

SELECT *
FROM figures
ORDER BY
    is_total,
    coalesce(failed_usd, 0) + coalesce(looping_usd, 0) DESC,
    failed_calls + looping_calls + suspected_calls DESC,
    pricing_mode, agent NULLS LAST, model NULLS LAST

-- What is claimed of failed calls, by agent, model and pricing mode: those that cost most.
SELECT
    candidate,
    any_value(agent) AS agent,
    any_value(model) AS model,
    any_value(pricing_mode) AS pricing_mode,
    count(*) AS calls,
    count(*) FILTER (WHERE retried) AS retried,
    count(*) FILTER (WHERE retry_succeeded) AS retries_succeeded,
    coalesce(list(DISTINCT error_type ORDER BY error_type) FILTER (WHERE error_type IS NOT NULL), [])[:5] AS errors
FROM failed
WHERE cost_usd > 0 OR tokens > 0
GROUP BY candidate
ORDER BY sum(cost_usd) DESC NULLS LAST, sum(tokens) DESC NULLS LAST, candidate
LIMIT $most

-- What is claimed of calls in loops, by agent, tool and pricing mode: those that cost most.
SELECT
    candidate,
    any_value(agent) AS agent,
    any_value(tool) AS tool,
    any_value(pricing_mode) AS pricing_mode,
    count(*) AS calls,
    sum(tool_calls)::BIGINT AS tool_calls,
    count(DISTINCT thread) AS sessions,
    list(DISTINCT arguments ORDER BY arguments) AS arguments
FROM looping
WHERE arguments IS NOT NULL AND (cost_usd > 0 OR tokens > 0)
GROUP BY candidate
ORDER BY sum(cost_usd) DESC NULLS LAST, sum(tokens) DESC NULLS LAST, candidate
LIMIT $most

-- What calls come to that asked what was asked before (`repeated`), by what they are claimed as; what costs most first.
SELECT
    candidate,
    any_value(agent) AS agent,
    any_value(service) AS service,
    any_value(model) AS model,
    any_value(pricing_mode) AS pricing_mode,
    min(prompt) AS prompt,
    any_value(group_calls) AS calls,
    any_value(group_usd) AS cost_usd,
    count(*) AS repeats,
    count(*) FILTER (is_same) AS same_answers,
    count(*) FILTER (is_other) AS for_others,
    count(DISTINCT place) AS places,
    sum(tokens)::BIGINT AS repeated_tokens,
    sum(cost_usd) AS repeated_usd,
    count(*) FILTER (cost_usd IS NULL AND pricing_mode <> 'local') AS repeats_without_cost
FROM repeated
GROUP BY candidate
HAVING count(*) >= $least_repeats AND count(*) >= $least_share::DOUBLE * calls
ORDER BY repeated_usd DESC NULLS LAST, repeated_tokens DESC NULLS LAST, candidate

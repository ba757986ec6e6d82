-- What the calls of `wanted` came to, by what a change is taken apart by, and (`is_total`) altogether. `wanted` has a row
-- for each stretch that is compared: of a day, (a model's or a user's) calls of that day; of a session, itself
-- (`is_after`) and the calls of its agent, `name`, in the other sessions that it is compared with.
WITH window_calls AS (
    SELECT
        call_id, provider, coalesce(response_model, request_model) AS model, agent_name, user_id, session_id, pricing_mode,
        {day} AS day,
        coalesce(input_tokens, 0) + coalesce(output_tokens, 0) AS tokens,
        cost_usd
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND cost_usd > 0
),

compared AS (
    SELECT wanted.number, wanted.is_after, window_calls.*
    FROM wanted
    JOIN window_calls
      ON window_calls.pricing_mode = wanted.pricing_mode
     AND window_calls.day = wanted.day
     AND CASE wanted.kind
            WHEN 'day' THEN TRUE
            WHEN 'agent' THEN window_calls.agent_name = wanted.name
            WHEN 'model' THEN window_calls.model = wanted.name
            WHEN 'user' THEN window_calls.user_id = wanted.name
        END
    UNION ALL
    SELECT wanted.number, TRUE, window_calls.*
    FROM wanted
    JOIN window_calls
      ON window_calls.pricing_mode = wanted.pricing_mode AND window_calls.session_id = wanted.session_id
    WHERE wanted.kind = 'session' AND wanted.is_after
    UNION ALL
    SELECT wanted.number, FALSE, window_calls.*
    FROM wanted
    JOIN window_calls
      ON window_calls.pricing_mode = wanted.pricing_mode
     AND window_calls.agent_name IS NOT DISTINCT FROM wanted.name
     AND window_calls.session_id <> wanted.session_id
     AND window_calls.day < $known
    WHERE wanted.kind = 'session' AND NOT wanted.is_after
)

SELECT
    number,
    is_after,
    provider,
    model,
    agent_name,
    grouping(provider, model, agent_name) > 0 AS is_total,
    count(*) AS calls,
    sum(tokens)::BIGINT AS tokens,
    sum(cost_usd) AS cost_usd,
    count(DISTINCT session_id) AS sessions,
    max({{'usd': cost_usd, 'call_id': call_id}}, 5) AS examples
FROM compared
GROUP BY GROUPING SETS ((number, is_after, provider, model, agent_name), (number, is_after))
ORDER BY ALL

-- One row per workflow and pricing mode of the calls that asked for its steps, the dearest first.
WITH
workflows AS (
    SELECT
        number,
        any_value(agent) AS agent,
        any_value(service) AS service,
        any_value(agent_sessions) AS agent_sessions,
        min(by_chance) AS by_chance,
        count(DISTINCT thread) AS sessions,
        count(*) AS tool_calls,
        count(arguments) AS known_arguments
    FROM workflow_steps
    GROUP BY number
),

positions AS (
    SELECT number, position, any_value(step) AS step, any_value(tool_name) AS tool, count(*) AS steps
    FROM workflow_steps
    GROUP BY number, position
),

orders AS (
    SELECT number, list(step ORDER BY position) AS steps, list(tool ORDER BY position) AS tools
    FROM positions
    GROUP BY number
),

-- Steps of which nearly all sessions have the same arguments.
same AS (
    SELECT number, count(*) AS same_steps
    FROM (
        SELECT steps.number, steps.position
        FROM workflow_steps AS steps
        JOIN positions USING (number, position)
        WHERE arguments IS NOT NULL
        GROUP BY steps.number, steps.position, arguments
        HAVING count(*) >= $same_share * min(positions.steps)
    )
    GROUP BY number
),

costs AS (
    SELECT
        number,
        pricing_mode,
        count(*) AS calls,
        count(*) FILTER (is_sure) AS sure_calls,
        count(*) FILTER (cost_usd IS NULL) AS calls_without_cost,
        sum(tokens)::BIGINT AS tokens,
        sum(cost_usd) AS cost_usd
    FROM workflow_calls
    GROUP BY number, pricing_mode
)

SELECT
    workflows.number, agent, service, steps, tools, sessions, agent_sessions, tool_calls, known_arguments,
    coalesce(same_steps, 0) AS same_steps, by_chance,
    pricing_mode, calls, sure_calls, calls_without_cost, tokens, cost_usd
FROM costs
JOIN workflows USING (number)
JOIN orders USING (number)
LEFT JOIN same USING (number)
ORDER BY cost_usd DESC NULLS LAST, tokens DESC NULLS LAST, number, pricing_mode

-- The calls that asked for the steps of a workflow. `is_sure` where each of a call's steps has the arguments that nearly all
-- sessions have there: no model needs to choose them.
WITH
sizes AS (
    SELECT number, count(DISTINCT thread) AS sessions
    FROM workflow_steps
    GROUP BY number
),

same AS (
    SELECT number, position, arguments
    FROM workflow_steps
    JOIN sizes USING (number)
    WHERE arguments IS NOT NULL
    GROUP BY number, position, arguments
    HAVING count(*) >= $same_share * min(sessions)
),

asking AS (
    SELECT call_id, min(steps.number) AS number, bool_and(same.arguments IS NOT NULL) AS is_sure
    FROM workflow_steps AS steps
    LEFT JOIN same
      ON same.number = steps.number AND same.position = steps.position AND same.arguments = steps.arguments
    WHERE call_id IS NOT NULL
    GROUP BY call_id
)

SELECT
    asking.*,
    calls.pricing_mode,
    calls.cost_usd,
    calls.input_tokens + coalesce(calls.output_tokens, 0) AS tokens
FROM asking
JOIN calls ON calls.call_id = asking.call_id
WHERE calls.start_time >= $start AND calls.start_time < $end

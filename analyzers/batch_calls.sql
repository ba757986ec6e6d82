-- The calls of `batch_jobs` that were answered, as they are priced; where nothing is known of a cost it is NULL. Those of a
-- conversation (a session, or a trace where there is none) in which a tool is asked for wait for each other's answers; one
-- that is alone waits for none.
WITH
conversations AS (
    SELECT
        hash({job}, {run}) AS conversation,
        count(*) = 1 AS is_alone,
        bool_or({asks_for_tool}) AND NOT is_alone AS is_chained
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND {may_wait} AND {job} IN (SELECT job FROM batch_jobs)
    GROUP BY conversation
)
SELECT
    row_number() OVER () AS node,
    {job} AS job,
    conversations.is_alone,
    conversations.is_chained,
    calls.agent_name AS agent,
    CASE WHEN calls.agent_name IS NULL THEN calls.service_name END AS service,
    {model} AS model,
    calls.pricing_mode,
    calls.call_id,
    calls.cost_usd,
    coalesce(calls.cost_low_usd, calls.cost_usd) AS cost_low_usd,
    coalesce(calls.cost_high_usd, calls.cost_usd) AS cost_high_usd,
    calls.response_model,
    calls.request_model,
    {priced_by}
FROM calls
JOIN conversations ON conversations.conversation = hash({job}, {run})
WHERE calls.start_time >= $start AND calls.start_time < $end AND {may_wait}
  AND calls.status_code <> 'ERROR' AND coalesce(calls.cost_usd > 0, TRUE)

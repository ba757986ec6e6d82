-- The calls of cheaper_groups.sql that a router would have sent to the cheaper model, as they are priced by that model: by
-- what is known before a call is answered, little input and no tool used before in its run. Sure is what turned out to be
-- simple too: a brief answer that asks for no tool.
WITH
window_calls AS MATERIALIZED (
    SELECT
        agent_name AS agent,
        CASE WHEN trace_id IS NOT NULL THEN hash(tenant, trace_id) END AS trace,
        {run} AS run,
        hash(run, agent_name) AS agent_run,
        start_time,
        {asks_for_tool} AS asks_for_tool
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND role = 'llm'
      AND coalesce(agent_name, '') IN (SELECT coalesce(agent, '') FROM routing_groups)
),
runs AS (
    SELECT
        agent_run,
        any_value(run) AS run,
        any_value(agent) AS agent,
        min(start_time) FILTER (asks_for_tool) AS first_asked
    FROM window_calls
    GROUP BY agent_run
),
{run_tools},
used_tools AS (
    SELECT runs.agent_run, min(run_tools.first_used) AS first_used
    FROM runs
    JOIN run_tools
      ON run_tools.run = runs.run
     AND (run_tools.agent IS NULL OR runs.agent IS NULL OR run_tools.agent = runs.agent)
    GROUP BY runs.agent_run
),
judged_runs AS (
    -- NULL where no tool was used at all; least() passes over the one that is.
    SELECT runs.agent_run, least(runs.first_asked, used_tools.first_used) AS first_tool
    FROM runs
    LEFT JOIN used_tools ON used_tools.agent_run = runs.agent_run
)

SELECT
    row_number() OVER () AS node,
    groups.number,
    calls.output_tokens < $max_output_tokens AND NOT {asks_for_tool} AS is_sure,
    calls.call_id,
    {to_reprice}
FROM calls
JOIN routing_groups AS groups
  ON {of_group}
JOIN judged_runs ON judged_runs.agent_run = hash({run}, calls.agent_name)
WHERE calls.start_time >= $start AND calls.start_time < $end AND {is_known} AND {is_short}
  AND (judged_runs.first_tool IS NULL OR calls.start_time <= judged_runs.first_tool)

-- The calls of cheaper_groups.sql that a cheaper model of the same family may serve, as they are priced by that model:
--   small     little in, little out, in a run of few tool calls; sure where every call of the run is little
--   context   what is sent again and again makes the cost; sure where little is answered
-- A run is what an agent does in a session, or in a trace where there is none: hashes stand for them.
WITH
-- All that these agents do tells what a run is like.
window_calls AS MATERIALIZED (
    SELECT
        agent_name AS agent,
        CASE WHEN trace_id IS NOT NULL THEN hash(tenant, trace_id) END AS trace,
        {run} AS run,
        hash(run, agent_name) AS agent_run,
        status_code = 'ERROR' AS failed,
        coalesce({is_little}, FALSE) AS is_little,
        coalesce({is_long}, FALSE) AS is_long,
        {asks_for_tool} AS asks_for_tool
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND role = 'llm'
      AND coalesce(agent_name, '') IN (SELECT coalesce(agent, '') FROM downsize_groups)
),
runs AS (
    SELECT
        agent_run,
        any_value(run) AS run,
        any_value(agent) AS agent,
        bool_and(is_little OR failed) AS is_all_little,
        count(*) FILTER (is_long AND NOT failed) AS long_calls,
        count(*) FILTER (asks_for_tool) AS asked_for_tools
    FROM window_calls
    GROUP BY agent_run
),

{run_tools},
recorded_tools AS (
    SELECT runs.agent_run, sum(run_tools.tool_calls) AS tool_calls
    FROM runs
    JOIN run_tools
      ON run_tools.run = runs.run
     AND (run_tools.agent IS NULL OR runs.agent IS NULL OR run_tools.agent = runs.agent)
    GROUP BY runs.agent_run
),
judged_runs AS (
    SELECT
        runs.agent_run,
        runs.is_all_little,
        runs.long_calls > 1 AS is_read_again,
        greatest(runs.asked_for_tools, coalesce(recorded_tools.tool_calls, 0)) <= $max_tool_calls AS has_few_tools
    FROM runs
    LEFT JOIN recorded_tools ON recorded_tools.agent_run = runs.agent_run
)

SELECT
    row_number() OVER () AS node,
    groups.number,
    {is_little} AS is_small,
    CASE WHEN is_small THEN judged_runs.is_all_little ELSE calls.output_tokens < $max_output_tokens END AS is_sure,
    judged_runs.agent_run,
    calls.call_id,
    {to_reprice}
FROM calls
JOIN downsize_groups AS groups
  ON {of_group}
JOIN judged_runs ON judged_runs.agent_run = hash({run}, calls.agent_name)
WHERE calls.start_time >= $start AND calls.start_time < $end AND {is_known} AND ({is_little} OR {is_long})
  AND CASE
      WHEN {is_little} THEN judged_runs.has_few_tools
      ELSE {is_long} AND judged_runs.is_read_again
  END

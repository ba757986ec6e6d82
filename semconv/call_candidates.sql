-- One row per record that may report a call, with who it belongs to as far as its own trace tells.
-- `ancestry` (node, ancestor, distance; a node is its own ancestor at 0) holds the candidates' telling ancestors.
-- `level` says where a value stood: 1 on the record itself, 2 on an ancestor, 3 elsewhere in the trace, 4 on the
-- resource; `low` and `high` differ where it is in conflict.
CREATE OR REPLACE TEMP TABLE call_candidates AS
WITH
nearest AS (
    SELECT
        node,
        {nearest_values},
        arg_min({{'name': agent_name, 'id': agent_id}}, distance)
            FILTER (agent_name IS NOT NULL OR agent_id IS NOT NULL) AS agent,
        min(distance) FILTER (agent_name IS NOT NULL OR agent_id IS NOT NULL) AS agent_distance,
        arg_min({{'name': agent_name, 'id': agent_id}}, distance)
            FILTER (agent_name IS NOT NULL AND agent_id IS NOT NULL) AS whole_agent,
        arg_min({{'name': tool_name, 'id': tool_call_id}}, distance)
            FILTER (coalesce(tool_name, tool_call_id) IS NOT NULL AND (distance = 0 OR role = 'tool')) AS tool,
        min(distance)
            FILTER (coalesce(tool_name, tool_call_id) IS NOT NULL AND (distance = 0 OR role = 'tool')) AS tool_distance
    FROM ancestry
    JOIN call_records ON call_records.rowid = ancestor
    GROUP BY node
),
trace_wide AS (
    SELECT
        tenant, trace_id,
        {trace_values}
    FROM call_records
    GROUP BY tenant, trace_id
)
SELECT
    call_records.rowid AS node,
    {record_columns},
    {value_levels},
    -- An ancestor completes a name or id that stands alone, if it agrees with it.
    coalesce(agent.name, CASE WHEN whole_agent.id = agent.id THEN whole_agent.name END) AS agent_name,
    coalesce(agent.id, CASE WHEN whole_agent.name = agent.name THEN whole_agent.id END) AS agent_id,
    CASE WHEN agent_distance = 0 THEN 1 WHEN agent_distance > 0 THEN 2 END AS agent_level,
    tool.name AS tool_name,
    tool.id AS tool_call_id,
    CASE WHEN tool_distance = 0 THEN 1 WHEN tool_distance > 0 THEN 2 END AS tool_level,
    FALSE AS possible_duplicate,
    NULL::JSON AS members
FROM call_records
LEFT JOIN nearest ON nearest.node = call_records.rowid
LEFT JOIN trace_wide
  ON trace_wide.tenant = call_records.tenant
 AND trace_wide.trace_id = call_records.trace_id
WHERE call_records.role IN ('llm', 'embeddings')

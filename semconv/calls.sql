-- The calls of the touched traces: one row per row of call_candidates (by now one per call), with who it belongs to
-- and what call_costs says it costs.
SELECT {columns}
FROM call_candidates AS call
JOIN call_costs AS costed ON costed.node = call.node

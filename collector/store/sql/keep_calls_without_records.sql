-- A stored call that was not built again, as its own record is not stored any more, is not outdated.
DELETE FROM outdated_calls
WHERE (tenant, call_id) IN (
    SELECT (tenant, call_id)
    FROM stored_calls
    WHERE span_id IS NOT NULL
      AND (tenant, trace_id, span_id) NOT IN (SELECT (tenant, trace_id, span_id) FROM known_records)
)

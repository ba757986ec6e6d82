-- Each record with its parent and whether it can be a call's record or tell whose a call below it is.
SELECT
    child.rowid AS node,
    parent.rowid AS parent,
    child.role IN ('llm', 'embeddings') AS is_candidate,
    coalesce({told}) IS NOT NULL AS is_telling
FROM call_records AS child
LEFT JOIN call_records AS parent
  ON parent.tenant = child.tenant
 AND parent.trace_id = child.trace_id
 AND parent.span_id = child.parent_span_id

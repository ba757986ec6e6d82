-- The calls that cost something else now, or for another reason, and where they stand.
SELECT call.node, call."row", {costs}
FROM {to_price} AS call
JOIN call_costs AS cost USING (node)
WHERE {differs}

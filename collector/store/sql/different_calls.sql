-- Calls that were built and are not stored exactly so.
SELECT call_id
FROM (
    SELECT {columns} FROM built_calls
    EXCEPT
    SELECT {columns} FROM stored_calls
)

-- Stored calls of the touched traces that come out different now, or not at all.
CREATE OR REPLACE TEMP TABLE outdated_calls AS
SELECT tenant, call_id
FROM (
    SELECT {columns} FROM stored_calls
    EXCEPT
    SELECT {columns} FROM built_calls
)

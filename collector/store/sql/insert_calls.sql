INSERT INTO lake.calls BY NAME
SELECT {columns}
FROM (
    SELECT {columns} FROM built_calls
    {except_stored}
)
ORDER BY start_time

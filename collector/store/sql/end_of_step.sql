-- The oldest rows that go, at most as many as one step deletes: how many they are, and the time of the last of them.
SELECT count(*), max({time})
FROM (
    SELECT {time}
    FROM lake.{table}
    WHERE {within}
    ORDER BY {time}
    LIMIT {rows}
)

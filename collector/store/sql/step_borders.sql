-- Of the rows in a stretch of time, the time of every so manieth.
SELECT DISTINCT {time}
FROM (
    SELECT {time}, row_number() OVER (ORDER BY {time}) AS number
    FROM lake.{table}
    WHERE {within}
)
WHERE number % {rows} = 1 OR {rows} = 1
ORDER BY {time}

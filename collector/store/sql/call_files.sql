-- The files in which calls of a stretch of time stand, by month: how many, and from when to when.
SELECT
    year(start_time) AS of_year,
    month(start_time) AS of_month,
    filename,
    min(start_time) AS earliest,
    max(start_time) AS latest,
    count(*) AS calls
FROM lake.calls
WHERE {within}
GROUP BY of_year, of_month, filename
ORDER BY of_year, of_month, earliest, filename

-- The days (UTC) on which rows of the relation began, and how many each has.
SELECT CAST(start_time AS DATE) AS day, count(*) AS found
FROM {relation}
WHERE start_time >= $start AND start_time < $end
GROUP BY ALL
ORDER BY ALL

-- How far the spool is in the lake.
SELECT spool_segment, spool_offset
FROM loads
WHERE spool_segment IS NOT NULL
ORDER BY spool_segment DESC, spool_offset DESC
LIMIT 1

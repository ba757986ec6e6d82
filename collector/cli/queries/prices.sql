-- The newest price data in the lake.
SELECT source, source_version, max(data_as_of) AS data_as_of, count(*) AS prices
FROM prices
GROUP BY source, source_version
ORDER BY data_as_of DESC NULLS LAST, source_version DESC
LIMIT 1

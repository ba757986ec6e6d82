-- The active price list, and how many prices it has.
SELECT listed.source, listed.source_version, listed.data_as_of, count(prices.price_id) AS prices
FROM (FROM price_snapshots ORDER BY activated_at DESC LIMIT 1) AS listed
LEFT JOIN prices USING (snapshot_id)
GROUP BY ALL

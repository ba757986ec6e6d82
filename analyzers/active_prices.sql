-- Where the active price list comes from, and the newest date that its data carries.
SELECT source, data_as_of
FROM price_snapshots
ORDER BY activated_at DESC
LIMIT 1

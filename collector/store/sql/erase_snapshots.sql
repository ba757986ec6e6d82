-- Snapshots but for the newest that ceased to be the newest so long ago that no query can still be reading them.
SELECT snapshot_id
FROM (
    SELECT
        snapshot_id,
        lead(snapshot_time::TIMESTAMPTZ) OVER (ORDER BY snapshot_id) AS followed_at
    FROM __ducklake_metadata_lake.ducklake_snapshot
)
WHERE followed_at <= now() - INTERVAL '{grace_seconds} seconds'
ORDER BY snapshot_id

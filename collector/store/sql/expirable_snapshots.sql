-- Snapshots that no running query can still be reading, but never the newest.
SELECT snapshot_id
FROM __ducklake_metadata_lake.ducklake_snapshot
WHERE snapshot_time::TIMESTAMPTZ < now() - INTERVAL '{grace_seconds} seconds'
  AND snapshot_id < (SELECT max(snapshot_id) FROM __ducklake_metadata_lake.ducklake_snapshot)
ORDER BY snapshot_id
LIMIT {at_most}

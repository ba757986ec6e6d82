-- Files that no snapshot names any more, and that no running query can still be reading.
SELECT data_file_id, path, path_is_relative
FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
WHERE schedule_start::TIMESTAMPTZ < now() - INTERVAL '{grace_seconds} seconds'
ORDER BY data_file_id
LIMIT {at_most}

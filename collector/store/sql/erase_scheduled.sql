-- Files that no snapshot names any more, and whether they have waited for as long as a query may read.
SELECT
    data_file_id,
    path,
    path_is_relative,
    schedule_start::TIMESTAMPTZ <= now() - INTERVAL '{grace_seconds} seconds' AS is_due
FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion

-- The lake reads one data file no more: it ends with the newest snapshot, as if its rows had been deleted there.
UPDATE __ducklake_metadata_lake.ducklake_delete_file
SET end_snapshot = (SELECT max(snapshot_id) FROM __ducklake_metadata_lake.ducklake_snapshot)
WHERE data_file_id = {data_file_id} AND end_snapshot IS NULL;

UPDATE __ducklake_metadata_lake.ducklake_table_stats AS stats
SET record_count = stats.record_count - file.record_count,
    file_size_bytes = stats.file_size_bytes - file.file_size_bytes
FROM __ducklake_metadata_lake.ducklake_data_file AS file
WHERE file.data_file_id = {data_file_id} AND file.table_id = stats.table_id;

UPDATE __ducklake_metadata_lake.ducklake_data_file
SET end_snapshot = (SELECT max(snapshot_id) FROM __ducklake_metadata_lake.ducklake_snapshot)
WHERE data_file_id = {data_file_id};

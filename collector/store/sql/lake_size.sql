-- Files that the tables consist of now, their bytes, and files that wait for their removal.
WITH
live AS (
    SELECT file_size_bytes FROM __ducklake_metadata_lake.ducklake_data_file WHERE end_snapshot IS NULL
    UNION ALL
    SELECT file_size_bytes FROM __ducklake_metadata_lake.ducklake_delete_file WHERE end_snapshot IS NULL
)
SELECT
    count(*),
    coalesce(sum(file_size_bytes), 0)::BIGINT,
    (SELECT count(*) FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion)
FROM live

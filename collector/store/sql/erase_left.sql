-- Files that were replaced up to a mark (erase_mark.sql) and are not removed yet.
SELECT
    (
        SELECT count(*)
        FROM __ducklake_metadata_lake.ducklake_data_file
        WHERE end_snapshot <= {snapshot}
    )
    + (
        SELECT count(*)
        FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
        WHERE data_file_id < {file}
    )

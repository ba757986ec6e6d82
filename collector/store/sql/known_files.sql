-- Every file that the catalog names, below `data` or, where it is not relative, as a whole path. The paths of tables and
-- schemas are relative in every lake of ours.
WITH files AS (
    SELECT table_id, path, path_is_relative FROM __ducklake_metadata_lake.ducklake_data_file
    UNION ALL
    SELECT table_id, path, path_is_relative FROM __ducklake_metadata_lake.ducklake_delete_file
),
folders AS (
    SELECT DISTINCT of_table.table_id, of_schema.path || of_table.path AS folder
    FROM __ducklake_metadata_lake.ducklake_table AS of_table
    JOIN __ducklake_metadata_lake.ducklake_schema AS of_schema USING (schema_id)
)
SELECT CASE WHEN path_is_relative THEN folder || path ELSE path END
FROM files
JOIN folders USING (table_id)
UNION ALL
SELECT path
FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion

-- Every file that the catalog names: of a snapshot that is still there, or waiting for its removal.
WITH
tables AS (
    SELECT DISTINCT owner.table_id, concat(folder.path, owner.path) AS path
    FROM __ducklake_metadata_lake.ducklake_table AS owner
    JOIN __ducklake_metadata_lake.ducklake_schema AS folder USING (schema_id)
),
files AS (
    SELECT table_id, path, path_is_relative FROM __ducklake_metadata_lake.ducklake_data_file
    UNION ALL
    SELECT table_id, path, path_is_relative FROM __ducklake_metadata_lake.ducklake_delete_file
)
SELECT
    if(files.path_is_relative, tables.path || files.path, files.path) AS path,
    files.path_is_relative,
    FALSE AS is_scheduled
FROM files
JOIN tables USING (table_id)
UNION ALL
SELECT path, path_is_relative, TRUE
FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion

-- The data files that the lake reads now, each with the file of what is deleted in it; newest first. Paths are
-- relative to the lake's data folder, or absolute.
WITH folders AS (
    SELECT named.table_id, named.table_name, concat(schemas.path, named.path) AS folder
    FROM __ducklake_metadata_lake.ducklake_table AS named
    JOIN __ducklake_metadata_lake.ducklake_schema AS schemas
      ON schemas.schema_id = named.schema_id AND schemas.end_snapshot IS NULL
    WHERE named.end_snapshot IS NULL
)
SELECT
    file.data_file_id,
    folders.table_name,
    if(file.path_is_relative, folders.folder || file.path, file.path) AS path,
    if(deleted.path_is_relative, folders.folder || deleted.path, deleted.path) AS deletes_path,
    file.record_count,
    file.file_size_bytes
FROM __ducklake_metadata_lake.ducklake_data_file AS file
JOIN folders ON folders.table_id = file.table_id
LEFT JOIN __ducklake_metadata_lake.ducklake_delete_file AS deleted
  ON deleted.data_file_id = file.data_file_id AND deleted.end_snapshot IS NULL
WHERE file.end_snapshot IS NULL
ORDER BY file.data_file_id DESC

-- Live files with deleted rows: their table, path below `data`, size and rows.
SELECT
    named.table_name,
    CASE WHEN file.path_is_relative THEN of_schema.path || named.path || file.path ELSE file.path END AS path,
    file.file_size_bytes,
    file.record_count
FROM __ducklake_metadata_lake.ducklake_data_file AS file
JOIN __ducklake_metadata_lake.ducklake_delete_file AS deleted
  ON deleted.data_file_id = file.data_file_id AND deleted.end_snapshot IS NULL
JOIN __ducklake_metadata_lake.ducklake_table AS named
  ON named.table_id = file.table_id AND named.end_snapshot IS NULL
JOIN __ducklake_metadata_lake.ducklake_schema AS of_schema
  ON of_schema.schema_id = named.schema_id AND of_schema.end_snapshot IS NULL
WHERE file.end_snapshot IS NULL
ORDER BY named.table_name, file.data_file_id

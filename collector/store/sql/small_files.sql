-- Live files per table that could be merged, and those that deletes have holed.
WITH files AS (
    SELECT file.table_id, file.file_size_bytes, deleted.delete_file_id IS NOT NULL AS is_holed
    FROM __ducklake_metadata_lake.ducklake_data_file AS file
    LEFT JOIN __ducklake_metadata_lake.ducklake_delete_file AS deleted
      ON deleted.data_file_id = file.data_file_id AND deleted.end_snapshot IS NULL
    WHERE file.end_snapshot IS NULL
)
SELECT
    named.table_name,
    count(*) FILTER (WHERE file_size_bytes < {tiny_bytes} AND NOT is_holed) AS tiny,
    count(*) FILTER (WHERE file_size_bytes < CASE named.table_name {small_bytes} END AND NOT is_holed) AS small,
    count(*) FILTER (WHERE is_holed) AS holed
FROM files
JOIN __ducklake_metadata_lake.ducklake_table AS named
  ON named.table_id = files.table_id AND named.end_snapshot IS NULL
GROUP BY named.table_name

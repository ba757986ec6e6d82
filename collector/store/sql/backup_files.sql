-- Every file that the newest state of a catalog names, below `data`. For SQLite.
SELECT of_schema.path || of_table.path || file.path
FROM (
    SELECT table_id, path FROM ducklake_data_file WHERE end_snapshot IS NULL
    UNION ALL
    SELECT table_id, path FROM ducklake_delete_file WHERE end_snapshot IS NULL
) AS file
JOIN ducklake_table AS of_table ON of_table.table_id = file.table_id AND of_table.end_snapshot IS NULL
JOIN ducklake_schema AS of_schema ON of_schema.schema_id = of_table.schema_id AND of_schema.end_snapshot IS NULL

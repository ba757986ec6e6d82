-- Whether log_records may hold any that report calls, by what the catalog knows of their roles. To ask the table costs
-- more than ten times that where it is empty.
SELECT coalesce(bool_or(stats.min_value <= 'llm' AND stats.max_value >= 'embeddings'), FALSE)
FROM __ducklake_metadata_lake.ducklake_table AS named
JOIN __ducklake_metadata_lake.ducklake_column AS role
  ON role.table_id = named.table_id AND role.column_name = 'role' AND role.end_snapshot IS NULL
JOIN __ducklake_metadata_lake.ducklake_table_column_stats AS stats
  ON stats.table_id = role.table_id AND stats.column_id = role.column_id
WHERE named.table_name = 'log_records' AND named.end_snapshot IS NULL

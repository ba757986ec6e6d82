-- How many rows each table of telemetry was ever given, those that were replaced by newer ones included: it never goes
-- down, and merging files leaves it as it is.
SELECT tables.table_name, stats.next_row_id
FROM __ducklake_metadata_lake.ducklake_table AS tables
JOIN __ducklake_metadata_lake.ducklake_table_stats AS stats USING (table_id)
WHERE tables.end_snapshot IS NULL
  AND tables.table_name IN ('spans', 'calls', 'log_records', 'metric_points')

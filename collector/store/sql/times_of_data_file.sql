-- From when to when the rows of a data file of `calls` start, as its catalog noted.
SELECT stats.min_value::TIMESTAMP, stats.max_value::TIMESTAMP
FROM __ducklake_metadata_lake.ducklake_file_column_stats AS stats
JOIN __ducklake_metadata_lake.ducklake_column AS named
  ON named.table_id = stats.table_id AND named.column_id = stats.column_id AND named.end_snapshot IS NULL
WHERE stats.data_file_id = {data_file_id} AND named.column_name = 'start_time'

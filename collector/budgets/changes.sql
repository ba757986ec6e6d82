-- Of the data files of `calls` that came, went or lost rows since the snapshot {since}: whether new rows, or rows that
-- may have gone, start before {settled}. A file that was merged away counts as gone: what it held, its heir holds.
WITH
files AS (
    SELECT
        file.data_file_id,
        file.begin_snapshot,
        file.end_snapshot,
        coalesce(min(stats.min_value::TIMESTAMP), TIMESTAMP '-infinity') AS first_start
    FROM __ducklake_metadata_lake.ducklake_data_file AS file
    JOIN __ducklake_metadata_lake.ducklake_table AS named
      ON named.table_id = file.table_id AND named.table_name = 'calls' AND named.end_snapshot IS NULL
    LEFT JOIN __ducklake_metadata_lake.ducklake_column AS start
      ON start.table_id = file.table_id AND start.column_name = 'start_time' AND start.end_snapshot IS NULL
    LEFT JOIN __ducklake_metadata_lake.ducklake_file_column_stats AS stats
      ON stats.data_file_id = file.data_file_id AND stats.column_id = start.column_id
    GROUP BY ALL
),
old_files AS (
    SELECT * FROM files WHERE first_start < TIMESTAMP '{settled}'
)
SELECT
    count(*) FILTER (old_files.begin_snapshot > {since}) > 0 AS are_new,
    count(*) FILTER (old_files.end_snapshot > {since} OR deleted.begin_snapshot > {since}) > 0 AS may_be_gone
FROM old_files
LEFT JOIN __ducklake_metadata_lake.ducklake_delete_file AS deleted
  ON deleted.data_file_id = old_files.data_file_id

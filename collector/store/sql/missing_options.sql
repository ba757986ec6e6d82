-- Options that the lake does not have yet; `shown` where ducklake_options shows a value in other words. Those of a
-- table can be set once the table is committed.
WITH wanted (option_name, value, table_name, shown) AS (
    VALUES
        ('parquet_compression', 'zstd', NULL, NULL),
        ('parquet_compression_level', '1', NULL, NULL),
        -- A merge holds a whole group in memory, twice while it is written: of 122,880 spans more than the loader has.
        -- The files are 4 % larger.
        ('parquet_row_group_size', '16384', NULL, NULL),
        ('target_file_size', '128MB', NULL, '128000000'),
        ('delete_older_than', '2 days', NULL, NULL),
        ('expire_older_than', '2 days', NULL, NULL),
        -- What a running loader merges up to: 16 MB (180,000 spans) take it about 1.5 s, 128 MB would take it 14 s.
        ('target_file_size', '16MB', 'spans', '16000000'),
        ('target_file_size', '16MB', 'log_records', '16000000'),
        ('target_file_size', '16MB', 'metric_points', '16000000'),
        ('target_file_size', '16MB', 'contents', '16000000'),
        -- Calls take a fourth of the space of spans: 4 MB are as many of them.
        ('target_file_size', '4MB', 'calls', '4000000'),
        -- One row a commit, without any text of the telemetry: in the catalog it costs 3 ms, as a file of its own
        -- 20 ms and a merge later.
        ('data_inlining_row_limit', '10', 'loads', NULL),
        ('data_inlining_row_limit', '10', 'runs', NULL),
        ('data_inlining_row_limit', '10', 'schema_migrations', NULL)
)
SELECT wanted.* EXCLUDE (shown)
FROM wanted
ANTI JOIN ducklake_options('lake') AS present
  ON present.option_name = wanted.option_name
 AND present.value = coalesce(wanted.shown, wanted.value)
 AND present.scope_entry IS NOT DISTINCT FROM 'main.' || wanted.table_name

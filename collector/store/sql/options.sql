-- Options of the lake, said again at every start: tables must be committed before they can have any.
CALL lake.set_option('parquet_compression', 'zstd');
CALL lake.set_option('parquet_compression_level', '1');
CALL lake.set_option('target_file_size', '128MB');
CALL lake.set_option('delete_older_than', '2 days');
CALL lake.set_option('expire_older_than', '2 days');

-- What a running loader merges up to: 16 MB (180,000 spans) take it about 1.5 s, 128 MB would take it 14 s.
CALL lake.set_option('target_file_size', '16MB', table_name => 'spans');
CALL lake.set_option('target_file_size', '16MB', table_name => 'log_records');
CALL lake.set_option('target_file_size', '16MB', table_name => 'metric_points');
CALL lake.set_option('target_file_size', '16MB', table_name => 'contents');
CALL lake.set_option('target_file_size', '16MB', table_name => 'calls');

-- One row a commit, without any text of the telemetry: in the catalog it costs 3 ms, as a file of its own 20 ms
-- and a merge later.
CALL lake.set_option('data_inlining_row_limit', 10, table_name => 'loads');
CALL lake.set_option('data_inlining_row_limit', 10, table_name => 'runs');
CALL lake.set_option('data_inlining_row_limit', 10, table_name => 'schema_migrations');

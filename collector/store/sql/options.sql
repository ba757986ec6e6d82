-- Options of the lake, said again at every start: tables must be committed before they can have any.
CALL lake.set_option('parquet_compression', 'zstd');
CALL lake.set_option('parquet_compression_level', '1');
CALL lake.set_option('target_file_size', '128MB');
CALL lake.set_option('delete_older_than', '2 days');
CALL lake.set_option('expire_older_than', '2 days');

-- One row a commit, without any text of the telemetry: in the catalog it costs 3 ms, as a file of its own 20 ms
-- and a merge later.
CALL lake.set_option('data_inlining_row_limit', 10, table_name => 'loads');
CALL lake.set_option('data_inlining_row_limit', 10, table_name => 'runs');
CALL lake.set_option('data_inlining_row_limit', 10, table_name => 'schema_migrations');

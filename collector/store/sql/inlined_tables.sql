-- Tables of the catalog that hold rows until they are flushed to Parquet, and whose; one per version of the schema.
SELECT named.table_name, inlined.table_name
FROM __ducklake_metadata_lake.ducklake_inlined_data_tables AS inlined
JOIN __ducklake_metadata_lake.ducklake_table AS named
  ON named.table_id = inlined.table_id AND named.end_snapshot IS NULL

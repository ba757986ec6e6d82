-- The newest snapshot, and the highest number of a file: data files and files of deletes are counted together.
SELECT max(snapshot_id), max(next_file_id) FROM __ducklake_metadata_lake.ducklake_snapshot

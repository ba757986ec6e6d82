-- Per table: live files that could be merged, in the month (partition) that has most of them, those that deletes have
-- holed so far that they are written anew, and how many bytes a row has in the former.
WITH
partitions AS (
    SELECT data_file_id, string_agg(partition_value, '-' ORDER BY partition_key_index) AS part
    FROM __ducklake_metadata_lake.ducklake_file_partition_value
    GROUP BY data_file_id
),
files AS (
    SELECT
        named.table_name,
        partitions.part,
        file.file_size_bytes,
        file.record_count,
        deleted.delete_file_id IS NOT NULL AS is_holed,
        coalesce(deleted.delete_count >= {deleted_part} * file.record_count, FALSE) AS is_to_rewrite
    FROM __ducklake_metadata_lake.ducklake_data_file AS file
    JOIN __ducklake_metadata_lake.ducklake_table AS named
      ON named.table_id = file.table_id AND named.end_snapshot IS NULL
    LEFT JOIN partitions ON partitions.data_file_id = file.data_file_id
    LEFT JOIN __ducklake_metadata_lake.ducklake_delete_file AS deleted
      ON deleted.data_file_id = file.data_file_id AND deleted.end_snapshot IS NULL
    WHERE file.end_snapshot IS NULL
),
months AS (
    SELECT
        table_name,
        count(*) FILTER (WHERE is_small AND file_size_bytes < {tiny_bytes}) AS tiny,
        count(*) FILTER (WHERE is_small) AS small,
        count(*) FILTER (WHERE is_to_rewrite) AS holed,
        sum(file_size_bytes) FILTER (WHERE is_small) AS small_bytes,
        sum(record_count) FILTER (WHERE is_small) AS small_rows
    FROM (
        SELECT
            *,
            file_size_bytes < CASE table_name {small_bytes} END AND record_count < {small_rows} AND NOT is_holed
                AS is_small
        FROM files
    )
    GROUP BY table_name, part
)
SELECT
    table_name,
    max(tiny),
    max(small),
    sum(holed)::BIGINT,
    coalesce(sum(small_bytes) / nullif(sum(small_rows), 0), 0)::DOUBLE
FROM months
GROUP BY table_name
ORDER BY table_name

-- Whether anything but their own spans may tell what calls asked that `told_already` lacks: other records of theirs, or
-- log records.
SELECT
    EXISTS (
        FROM calls
        ANTI JOIN told_already USING (call_id)
        WHERE start_time >= $start AND start_time < $end AND {of}
            AND (span_id IS NULL OR json_array_length(members) > 1)
    )
    OR EXISTS (
        FROM log_records
        WHERE time >= $start - INTERVAL 1 HOUR AND time < $end + INTERVAL 1 HOUR
            AND contains(evidence::VARCHAR, '"message":{{"hash":')
    )

-- Copies of the loaded spans, with ids of their own and spread over 60 days: {copies} of each, the first number {first}.
INSERT INTO lake.spans
SELECT
    loaded.* REPLACE (
        md5(loaded.trace_id || copies.number) AS trace_id,
        left(md5(loaded.span_id || copies.number), 16) AS span_id,
        left(md5(loaded.parent_span_id || copies.number), 16) AS parent_span_id,
        left(loaded.response_id || md5(loaded.span_id || copies.number), 29) AS response_id,
        loaded.start_time - to_seconds(copies.shift) AS start_time,
        loaded.start_unix_nano - copies.shift * 1000000000 AS start_unix_nano,
        loaded.end_unix_nano - copies.shift * 1000000000 AS end_unix_nano
    )
FROM loaded_spans AS loaded
CROSS JOIN (
    SELECT number, (600 + hash(number) % 5184000)::BIGINT AS shift
    FROM range({first}, {first} + {copies}) AS numbers (number)
) AS copies
ORDER BY start_time

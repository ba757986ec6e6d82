-- Copies of the loaded calls, with ids of their own and spread over 60 days: {copies} of each, the first number {first}.
INSERT INTO lake.calls
SELECT
    loaded.* REPLACE (
        md5(loaded.call_id || copies.number) AS call_id,
        md5(loaded.trace_id || copies.number) AS trace_id,
        left(md5(loaded.span_id || copies.number), 16) AS span_id,
        to_json([{{
            'signal': 'span',
            'trace_id': md5(loaded.trace_id || copies.number),
            'span_id': left(md5(loaded.span_id || copies.number), 16)
        }}]) AS members,
        left(loaded.response_id || md5(loaded.span_id || copies.number), 29) AS response_id,
        loaded.start_time - to_seconds(copies.shift) AS start_time
    )
FROM loaded_calls AS loaded
CROSS JOIN (
    SELECT number, (600 + hash(number) % 5184000)::BIGINT AS shift
    FROM range({first}, {first} + {copies}) AS numbers (number)
) AS copies
ORDER BY start_time

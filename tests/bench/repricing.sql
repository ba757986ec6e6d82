-- Copies of the loaded calls, with ids of their own and spread over a quarter: {copies} of each, the first number {first}.
INSERT INTO lake.calls
SELECT
    calls.* REPLACE (
        md5(call_id || number) AS call_id,
        md5(trace_id || number) AS trace_id,
        left(md5(span_id || number), 16) AS span_id,
        to_json([{{'signal': signal, 'trace_id': md5(trace_id || number), 'span_id': left(md5(span_id || number), 16)}}])
            AS members,
        'chatcmpl-' || md5(response_id || number) AS response_id,
        TIMESTAMP '2026-01-01' + to_minutes(number * 1000) + to_seconds(hash(call_id) % 60000) AS start_time
    )
FROM loaded_calls AS calls
CROSS JOIN (SELECT unnest(range({first}, {first} + {copies})) AS number)
ORDER BY start_time

-- The calls of one dimension; with no dimension configured no row, but the same columns.
SELECT
    tenant, {dimension} AS dimension, {column} AS unit, start_time, duration_ns, status_code, session_id,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, pricing_mode
FROM lake.calls
WHERE {wanted}

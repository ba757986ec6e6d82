-- One row per group: what its calls begin with alike, what of it was read, and what the best strategy would save.
SELECT
    number,
    any_value(strategy) AS strategy,
    any_value(is_longer) AS is_longer,
    count(*) AS calls,
    count(*) FILTER (is_warm) AS sharing_calls,
    sum(tokens) FILTER (is_warm)::BIGINT AS shared_tokens,
    sum(read) FILTER (is_warm)::BIGINT AS read_tokens,
    sum(missed)::BIGINT AS missed_tokens,
    sum(to_write)::BIGINT AS to_write,
    sum(low_usd) AS low_usd,
    sum(high_usd) AS high_usd,
    median(tokens) FILTER (is_warm)::BIGINT AS median_tokens,
    mode(part ORDER BY part) FILTER (is_warm) AS part,
    mode(message ORDER BY message) FILTER (is_warm) AS message,
    mode(next_part ORDER BY next_part) FILTER (is_warm) AS next_part,
    median(break_even) AS break_even
FROM cache_prefixes
GROUP BY number
ORDER BY sum(missed) DESC, number

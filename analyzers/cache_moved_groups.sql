-- One row per group: what it sends again behind another beginning, and what varies before it.
SELECT
    number,
    count(*) AS calls,
    sum(tokens)::BIGINT AS tokens,
    mode(varies ORDER BY varies) AS varies,
    median(after)::BIGINT AS after
FROM cache_moved
GROUP BY number
ORDER BY sum(tokens) DESC, number

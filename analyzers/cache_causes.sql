-- By group and cause, and for writes that nobody read under a cause of their own: calls, tokens and what they cost.
WITH counted AS (
    SELECT number, cause, call_id, input AS tokens, missed, lost_usd, high_usd
    FROM cache_calls
    UNION ALL
    SELECT number, 'unread_writes', call_id, input, missed, premium_usd, premium_usd
    FROM cache_calls
    WHERE is_unread
)

SELECT
    number,
    cause,
    count(*) AS calls,
    sum(tokens)::BIGINT AS tokens,
    sum(missed)::BIGINT AS missed_tokens,
    sum(lost_usd) AS lost_usd,
    sum(high_usd) AS high_usd,
    max({'missed': missed, 'tokens': tokens, 'call_id': call_id}, 5) AS examples
FROM counted
GROUP BY number, cause
ORDER BY number, sum(missed) DESC, sum(tokens) DESC, cause

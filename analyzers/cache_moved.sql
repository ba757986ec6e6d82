-- Calls that send what a call shortly before had sent too, behind another beginning: one row per call. Had it stood first, it
-- would have been read. `flagged`, `asked`: as cache_prefixes.sql has them.
--
-- `varies`: the part before the first of it, which is another each time, and `after`: how many tokens come before that ends.
WITH
pieces AS MATERIALIZED (
    SELECT
        id,
        number,
        place::INTEGER AS place,
        -- Behind the 16th boundary some are left out, and a text is that of its last 4,096 bytes.
        CASE WHEN place <= 16 THEN ends[place] - ends[place - 1] ELSE least(ends[place] - ends[place - 1], 4096) END
            * input // bytes AS tokens,
        ends[place - 1] * input // bytes AS before,
        parts[place - 1] AS part_before,
        hash(number, tenant, prefixes[place]) AS prefix,
        hash(number, tenant, texts[place]) AS text,
        start_time,
        end_time
    FROM (SELECT *, unnest(range(2, len(ends) + 1)) AS place FROM asked)
),

-- Brief texts such as "go on" come again anyway.
repeated AS (
    SELECT text
    FROM pieces
    WHERE tokens >= $least_tokens
    GROUP BY text
    HAVING count(*) >= $least_calls AND min(prefix) <> max(prefix)
),

with_pauses AS (
    SELECT
        *,
        epoch(start_time - lag(end_time) OVER (PARTITION BY text ORDER BY start_time, id)) AS text_pause,
        epoch(start_time - lag(end_time) OVER (PARTITION BY prefix ORDER BY start_time, id)) AS prefix_pause
    FROM pieces
    SEMI JOIN repeated USING (text)
),

-- What is warm by itself, and behind its beginning is not; and what would have to be written first.
by_call AS (
    SELECT
        id,
        number,
        sum(tokens) FILTER (is_warm AND NOT is_read) AS tokens,
        sum(tokens) FILTER (NOT is_warm AND NOT is_read) AS to_write,
        arg_min(part_before, place) FILTER (is_warm AND NOT is_read) AS varies,
        arg_min(before, place) FILTER (is_warm AND NOT is_read) AS after
    FROM (
        SELECT
            *,
            coalesce(text_pause BETWEEN 0 AND lives_seconds, FALSE) AS is_warm,
            coalesce(prefix_pause BETWEEN 0 AND lives_seconds, FALSE) AS is_read
        FROM with_pauses
        JOIN flagged USING (number)
    )
    GROUP BY id, number
),

weighed AS MATERIALIZED (
    SELECT
        by_call.* EXCLUDE (tokens, to_write),
        call_id,
        on_request,
        least(coalesce(tokens, 0), input - read) AS tokens,
        CASE WHEN on_request THEN coalesce(to_write, 0) ELSE 0 END AS to_write,
        gain_usd,
        premium_usd
    FROM by_call
    JOIN asked USING (id, number)
    WHERE coalesce(tokens, 0) + coalesce(to_write, 0) >= min_tokens
),

sums AS (
    SELECT number, sum(tokens * gain_usd) AS gain_usd, sum(to_write * premium_usd) AS write_usd
    FROM weighed
    GROUP BY number
    HAVING count(*) FILTER (tokens > 0) >= $least_calls
)

SELECT
    number,
    call_id,
    tokens::BIGINT AS tokens,
    varies,
    after::BIGINT AS after,
    (tokens * weighed.gain_usd * greatest(1 - sums.write_usd / nullif(sums.gain_usd, 0), 0))::DECIMAL(38, 12) AS high_usd
FROM weighed
JOIN sums USING (number)
WHERE tokens > 0

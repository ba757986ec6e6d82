-- Calls that begin as others did and could have read that from the cache: one row per call of a group, by the strategy
-- that is the best for the group. `flagged`: the groups with their rules (cache_figures.py), `asked`: cache_asked.sql.
--
-- A strategy: where caching is asked for, one place up to which each call caches its prompt, the same in all calls of the
-- group, or (0) the end of each prompt; where it is automatic, always the latter. And how long that lives.
--
-- Tokens of a beginning are the call's own input tokens by its share of the prompt's bytes: between $least and $most
-- times that. Of a call only what it did not read is missed, and only what it did not write is to be written.
WITH
-- Where a prompt may be cut, long enough to be cached, and how it goes on there.
beginnings AS MATERIALIZED (
    SELECT
        id,
        number,
        place::INTEGER AS place,
        ends[place] * input // bytes AS tokens,
        hash(number, tenant, prefixes[place]) AS prefix,
        prefixes[place + 1] AS goes_on,
        start_time,
        end_time
    FROM (SELECT *, unnest(range(1, len(ends) + 1)) AS place FROM asked)
    WHERE ends[place] * input >= min_tokens * bytes
),

shared AS MATERIALIZED (
    SELECT
        prefix, number, place,
        coalesce(min(goes_on) <> max(goes_on), TRUE) OR count(goes_on) < count(*) AS goes_apart
    FROM beginnings
    GROUP BY prefix, number, place
    HAVING count(*) >= $least_calls
),

-- Elsewhere prompts that are alike are so a boundary later too.
places AS MATERIALIZED (
    SELECT DISTINCT number, place
    FROM shared
    WHERE goes_apart
),

-- Also of calls that share nothing there: they too would write. What a call before had sent was there when it had ended,
-- be it one of the three last.
with_pauses AS MATERIALIZED (
    SELECT
        id,
        number,
        place,
        tokens,
        CASE WHEN prefix IN (SELECT prefix FROM shared) THEN epoch(start_time - CASE
            WHEN lag(end_time) OVER alike <= start_time THEN lag(end_time) OVER alike
            WHEN lag(end_time, 2) OVER alike <= start_time THEN lag(end_time, 2) OVER alike
            WHEN lag(end_time, 3) OVER alike <= start_time THEN lag(end_time, 3) OVER alike
        END) END AS pause
    FROM beginnings
    SEMI JOIN places USING (number, place)
    WINDOW alike AS (PARTITION BY prefix ORDER BY start_time, id)
),

lifetimes AS (
    SELECT number, on_request, lives_seconds AS lives, FALSE AS is_longer
    FROM flagged
    UNION ALL
    SELECT number, on_request, longer_seconds, TRUE
    FROM flagged
    WHERE longer_seconds IS NOT NULL
),

steps AS MATERIALIZED (
    SELECT number, id, place, tokens, on_request, is_longer, coalesce(pause <= lives, FALSE) AS is_warm
    FROM with_pauses
    JOIN lifetimes USING (number)
),

strategies AS (
    SELECT id, is_longer, place AS strategy, place, tokens, is_warm
    FROM steps
    WHERE on_request
    UNION ALL
    SELECT
        asked.id, lifetimes.is_longer, 0,
        max(place) FILTER (is_warm), coalesce(max(tokens) FILTER (is_warm), 0), coalesce(bool_or(is_warm), FALSE)
    FROM asked
    JOIN lifetimes USING (number)
    LEFT JOIN steps ON steps.id = asked.id AND steps.is_longer = lifetimes.is_longer
    WHERE asked.number IN (SELECT number FROM places)
    GROUP BY asked.id, lifetimes.is_longer
),

weighed AS MATERIALIZED (
    SELECT
        number, id, is_longer, strategy, place, tokens, is_warm, read, gain_usd,
        CASE WHEN is_warm THEN greatest(tokens - read, 0) ELSE 0 END AS missed,
        CASE WHEN is_warm THEN greatest(least($most * tokens, input) - read, 0) ELSE 0 END AS most_missed,
        CASE WHEN is_warm THEN greatest($least * tokens - read, 0) ELSE 0 END AS least_missed,
        CASE
            WHEN NOT on_request THEN 0
            WHEN strategy = 0 THEN greatest(input - greatest(tokens, read) - written, 0)
            WHEN is_warm THEN 0
            ELSE greatest(tokens - read - written, 0)
        END AS to_write,
        CASE WHEN is_longer THEN longer_premium_usd ELSE premium_usd END AS premium_usd
    FROM strategies
    JOIN asked USING (id)
),

sums AS (
    SELECT
        number, strategy, is_longer,
        sum(missed) AS missed,
        sum(tokens) FILTER (is_warm) AS could_read,
        sum(most_missed * gain_usd) AS most_usd,
        sum(least_missed * gain_usd) AS least_usd,
        coalesce(sum(to_write * premium_usd), 0) AS write_usd,
        coalesce(sum(missed * gain_usd) - sum(to_write * premium_usd), 0) AS saved_usd
    FROM weighed
    GROUP BY number, strategy, is_longer
),

-- The simplest of those that save as much.
best AS (
    SELECT *
    FROM sums
    WHERE missed > $least_missed * could_read
    QUALIFY row_number() OVER (
        PARTITION BY number ORDER BY saved_usd DESC, missed DESC, is_longer, strategy DESC
    ) = 1
)

SELECT
    weighed.number,
    asked.call_id,
    weighed.strategy,
    weighed.is_longer,
    weighed.is_warm,
    weighed.tokens::BIGINT AS tokens,
    weighed.missed::BIGINT AS missed,
    weighed.read::BIGINT AS read,
    NOT asked.on_request AS is_automatic,
    weighed.to_write::BIGINT AS to_write,
    (most_missed * weighed.gain_usd * greatest(1 - $least * best.write_usd / nullif(most_usd, 0), 0))::DECIMAL(38, 12)
        AS high_usd,
    (least_missed * weighed.gain_usd * greatest(1 - $most * best.write_usd / nullif(least_usd, 0), 0))::DECIMAL(38, 12)
        AS low_usd,
    asked.parts[weighed.place] AS part,
    len(list_filter(asked.parts[:weighed.place], lambda one:
        NOT ends_with(one, '*') AND one NOT IN ('tools', 'system'))) AS message,
    asked.parts[weighed.place + 1] AS next_part,
    weighed.premium_usd / nullif(weighed.gain_usd, 0) AS break_even
FROM weighed
JOIN best USING (number, strategy, is_longer)
JOIN asked USING (id)

-- What prompts are made of, from captured text, as parts of a statement: `sections` has a row for each message, each system
-- text and all tools of a record. `captured`: the rows of `contents` to look at. `prompt_places` (key, part, source): which of
-- their keys hold a prompt.
--
-- Of each part of a prompt the source that is named first, the whole request where no messages are.
texts AS (
    SELECT *
    FROM (
        -- A span and its log record may tell the same; of events each is a message of its own.
        SELECT
            tenant, trace_id, span_id, part, source, captured.key, content,
            CASE WHEN source = '~' THEN start_time END AS start_time
        FROM captured
        JOIN prompt_places ON prompt_places.key = captured.key
        WHERE captured.start_time >= $start - INTERVAL 1 HOUR AND captured.start_time < $end + INTERVAL 1 HOUR
            AND span_id IS NOT NULL
            AND kind <> 'completions'
        GROUP BY ALL
    )
    QUALIFY
        source = min(source) OVER (PARTITION BY tenant, trace_id, span_id, part)
        AND (part <> 'request' OR count(*) FILTER (part = 'messages') OVER (PARTITION BY tenant, trace_id, span_id) = 0)
),

documents AS (
    SELECT
        * EXCLUDE (content),
        CASE WHEN json_valid(content) THEN json(content) ELSE to_json(content) END AS content,
        -- The first number in the key, whose message is of several keys.
        CASE WHEN ends_with(source, '.N')
            THEN try_cast(regexp_extract(substr(key, length(source)), '^[0-9]+') AS BIGINT) END AS number
    FROM texts
),

requested AS (
    SELECT
        tenant, trace_id, span_id, key, start_time,
        unnest([
            {'part': 'tools', 'content': coalesce(
                content -> '$.tools', content -> '$.functions', content -> '$.config.tools')},
            {'part': 'system', 'content': coalesce(
                content -> '$.system', content -> '$.instructions', content -> '$.system_instruction',
                content -> '$.config.system_instruction')},
            {'part': 'messages', 'content': coalesce(
                content -> '$.messages', content -> '$.contents', content -> '$.input', content -> '$.prompt',
                content)}
        ], recursive := TRUE)
    FROM documents
    WHERE part = 'request'
),

parts AS (
    SELECT tenant, trace_id, span_id, part, key, number, start_time, content
    FROM documents
    WHERE part <> 'request'
    UNION ALL
    SELECT tenant, trace_id, span_id, part, key, NULL, start_time, content
    FROM requested
    ANTI JOIN documents USING (tenant, trace_id, span_id, part)
    WHERE content IS NOT NULL
),

messages AS (
    SELECT
        * EXCLUDE (content),
        unnest(CASE
            WHEN part <> 'messages' OR json_type(content) <> 'ARRAY' THEN [content]
            WHEN json_type(content -> 0) = 'ARRAY' THEN content -> '$[*][*]'
            ELSE content -> '$[*]'
        END) AS content,
        generate_subscripts(CASE
            WHEN part <> 'messages' OR json_type(content) <> 'ARRAY' THEN [content]
            WHEN json_type(content -> 0) = 'ARRAY' THEN content -> '$[*][*]'
            ELSE content -> '$[*]'
        END, 1) AS place
    FROM parts
),

-- One row per section, white space folded as the gate folds it.
sections AS (
    SELECT
        tenant, trace_id, span_id, part,
        number, min(start_time) AS start_time, min(key) AS key, place,
        CASE
            WHEN part <> 'messages' THEN part
            WHEN any_value(content ->> '$.role') IN ('system', 'user', 'assistant', 'tool')
                THEN any_value(content ->> '$.role')
            ELSE 'message'
        END AS role,
        trim(regexp_replace(
            string_agg(
                CASE WHEN json_type(content) = 'VARCHAR' THEN content ->> '$' ELSE content::VARCHAR END, chr(31)
                ORDER BY key
            ),
            '(?:\\[nrt]|[\s\x{1c}-\x{1f}\x{85}\pZ])+', ' ', 'g'
        )) AS text
    FROM messages
    GROUP BY
        tenant, trace_id, span_id, part, number, place,
        -- Events have the same key each time.
        CASE WHEN number IS NULL THEN hash(key, start_time, content::VARCHAR) END
)

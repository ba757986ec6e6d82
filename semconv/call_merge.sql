-- The records of one call as one row: the richest record is preferred, the others fill what it lacks.
-- `call_members` (node, call_number) holds the groups.
WITH
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY call_number
            ORDER BY
                (input_tokens IS NOT NULL)::INT + (output_tokens IS NOT NULL)::INT DESC,
                {details} DESC,
                token_semantics IS NOT DISTINCT FROM 'unknown',
                -- The counts of a stream only grow, and so does what is told of it.
                output_tokens DESC NULLS LAST,
                -- Of two that differ by the cache the larger has it.
                input_tokens DESC NULLS LAST,
                signal DESC, response_id IS NULL, response_model IS NULL,
                duration_ns NULLS LAST, start_unix_nano, trace_id, span_id
        ) AS rank
    FROM call_candidates
    JOIN call_members USING (node)
),
-- What a record adds to the counts holds only beside the same total. Some senders leave the reasoning out of it
-- (Gemini CLI's spans, whose log records tell it).
compared AS (
    SELECT
        *,
        rank + CASE WHEN signal = 'span' AND event_name IS NULL THEN 0 ELSE 1000 END AS span_rank,
        input_tokens IS NULL OR input_tokens = first_value(input_tokens IGNORE NULLS) OVER best AS same_input,
        output_tokens IS NULL OR output_tokens = first_value(output_tokens IGNORE NULLS) OVER best AS same_output,
        reasoning_tokens IS NULL
        AND coalesce(
            output_tokens = first_value(output_tokens IGNORE NULLS) OVER best
            - first_value(reasoning_tokens IGNORE NULLS) OVER best,
            FALSE
        ) AS lacks_reasoning,
        first_value(input_tokens IGNORE NULLS) OVER best IS NOT NULL
        OR first_value(output_tokens IGNORE NULLS) OVER best IS NOT NULL AS has_usage,
        rank = min(CASE WHEN output_tokens IS NOT NULL THEN rank END) OVER best AS tells_output
    FROM ranked
    WINDOW best AS (
        PARTITION BY call_number ORDER BY rank ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
),
levelled AS (
    SELECT
        *,
        CASE WHEN same_input THEN rank + CASE token_semantics WHEN 'unknown' THEN 1000 ELSE 0 END END AS semantics_rank,
        {least_levels}
    FROM compared
)
SELECT
    arg_min(node, rank) AS node,
    {of_its_span},
    {filled},
    {filled_input},
    {filled_output},
    arg_min(token_semantics, semantics_rank) AS token_semantics,
    arg_min(token_evidence, semantics_rank) AS token_evidence,
    -- What failed is the call if none of its records has usage; else only what came before or after it.
    CASE
        WHEN bool_or(has_usage) THEN arg_min(status_code, rank)
        WHEN bool_or(status_code = 'ERROR') THEN 'ERROR'
        ELSE arg_min(status_code, rank)
    END AS status_code,
    CASE WHEN bool_or(has_usage) THEN max(CASE WHEN rank = 1 THEN error_type END) ELSE arg_min(error_type, rank) END
        AS error_type,
    -- An account that was declared goes before one that only stands for the provider.
    arg_min(billing_account, rank + CASE WHEN billing_account = provider THEN 1000 ELSE 0 END) AS billing_account,
    arg_min(plan_tier, rank + CASE WHEN billing_account = provider THEN 1000 ELSE 0 END) AS plan_tier,
    {merged_values},
    arg_min(agent_name, agent_level * 1000 + rank) AS agent_name,
    arg_min(agent_id, agent_level * 1000 + rank) AS agent_id,
    min(agent_level) AS agent_level,
    arg_min(tool_name, tool_level * 1000 + rank) AS tool_name,
    arg_min(tool_call_id, tool_level * 1000 + rank) AS tool_call_id,
    min(tool_level) AS tool_level,
    bool_or(possible_duplicate) AS possible_duplicate,
    to_json(
        list({member} ORDER BY rank)
    ) AS members,
    nullif(list_sort(list_distinct(list_concat(
        -- That reasoning may be missing is a doubt about the output that was told with it, and about no other.
        flatten(list(list_filter(
            coalesce(notes, []), lambda note: note <> 'output_may_lack_reasoning' OR coalesce(tells_output, TRUE)
        ))),
        CASE WHEN bool_and(same_input AND (same_output OR lacks_reasoning)) THEN [] ELSE ['token_counts_differ'] END
    ))), []) AS notes
FROM levelled
GROUP BY call_number

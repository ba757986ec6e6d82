-- Per service and library, what the calls of a window lack. `libraries`: call_libraries.sql. `streaming`: whether a span
-- says that it streamed. `problems`: of each that `judged` names, how many calls have it, and {most} of them.
WITH
window_calls AS NOT MATERIALIZED (
    SELECT
        call_id, tenant, trace_id, span_id, signal, members, service_name, dialect, role,
        cache_read_tokens, cost_usd, cost_low_usd, cost_high_usd, cost_note, notes, possible_duplicate, token_semantics,
        input_tokens IS NULL AS lacks_input,
        status_code = 'ERROR' AND input_tokens IS NULL AND output_tokens IS NULL AS failed,
        (input_tokens IS NULL OR (output_tokens IS NULL AND role <> 'embeddings')) AND NOT failed AS lacks_usage
    FROM calls
    WHERE start_time >= $start AND start_time < $end
),
-- Only of calls that lack their usage is it asked: attributes take longest to read. Grouped, so that none is read before
-- it is known whose it is.
streaming AS (
    SELECT record
    FROM (
        SELECT hash(tenant, trace_id, span_id) AS record, attributes
        FROM spans
        WHERE role IN ('llm', 'embeddings')
          AND start_time >= $start::TIMESTAMP - INTERVAL 1 HOUR
          AND start_time < $end::TIMESTAMP + INTERVAL 1 HOUR
    )
    SEMI JOIN (
        SELECT hash(tenant, trace_id, span_id) AS record
        FROM window_calls
        WHERE lacks_usage AND signal = 'span'
    ) USING (record)
    GROUP BY record
    HAVING bool_or({streaming})
),
libraries AS (
{libraries}
),
asked AS (
    SELECT *, lacks_usage AND record IN (FROM streaming) AS streams_without_usage
    FROM libraries
),
judged AS (
    SELECT
        *,
        lacks_usage AND NOT streams_without_usage AS without_usage,
        role = 'llm' AND NOT lacks_input AND cache_read_tokens IS NULL AS without_cache_split,
        token_semantics = 'unknown' AND cost_note = 'token_semantics_unknown' AS unknown_semantics,
        list_has_any(notes, {left_out}) AS understated,
        cost_note IN ('no_model', 'unknown_model', 'no_price') AS unknown_model,
        possible_duplicate AS possible_duplicates,
        list_has_any(notes, {clock_notes}) AS clock_skew
    FROM asked
),
-- Calls lack things in a few ways only: by these, each figure below is one of some dozens of rows, not of all calls.
ways AS (
    SELECT
        coalesce(service_name, '') AS service,
        library,
        version,
        failed,
        {names},
        count(*) AS calls,
        min(call_id, {most}) FILTER ({any_name}) AS examples,
        -- No array of one object has that, and to look for it takes less than to parse it.
        count(*) FILTER (CASE WHEN members LIKE '%}}%,%{{%' THEN json_array_length(members) > 1 END) AS merged,
        sum(cost_usd) AS cost_usd,
        -- Both ends are list prices, whatever the plan: their ratio may be told for all plans together.
        -- An estimate that is no cost has the two ends alone, and is left out.
        sum(coalesce(cost_high_usd, cost_usd) - coalesce(cost_low_usd, cost_usd))
            FILTER (cost_usd IS NOT NULL AND (cost_low_usd IS NOT NULL OR cost_high_usd IS NOT NULL)) AS uncertain_usd
    FROM judged
    GROUP BY ALL
)
SELECT
    service,
    library,
    version,
    sum(calls)::BIGINT AS calls,
    coalesce(sum(calls) FILTER (failed), 0)::BIGINT AS failed,
    {problems},
    sum(merged)::BIGINT AS duplicates_merged,
    coalesce(sum(uncertain_usd), 0) / nullif(sum(cost_usd), 0) AS uncertain_share
FROM ways
GROUP BY service, library, version
ORDER BY calls DESC, service, library, version

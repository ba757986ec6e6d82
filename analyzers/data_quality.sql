-- Per service and library, what the calls of a window lack. `libraries`: call_libraries.sql. `streaming`: whether a span
-- says that it streamed. `problems`: of each that `judged` names, how many calls have it, and which.
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
)
SELECT
    coalesce(service_name, '') AS service,
    library,
    version,
    count(*) AS calls,
    count(*) FILTER (failed) AS failed,
    {problems},
    count(*) FILTER (json_array_length(members) > 1) AS duplicates_merged,
    -- Both ends are list prices, whatever the plan: their ratio may be told for all plans together.
    -- An estimate that is no cost has the two ends alone, and is left out.
    (sum(coalesce(cost_high_usd, cost_usd) - coalesce(cost_low_usd, cost_usd)) FILTER (cost_usd IS NOT NULL)) / nullif(sum(cost_usd), 0)
        AS uncertain_share
FROM judged
GROUP BY ALL
ORDER BY calls DESC, service, library, version

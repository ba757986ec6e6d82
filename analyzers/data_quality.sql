-- Per service and library, what the calls of a window lack. `libraries`: call_libraries.sql, with whether a span says
-- that it streamed. `problems`: of each that `judged` names, how many calls have it, and which.
WITH
window_calls AS (
    SELECT *
    FROM calls
    WHERE start_time >= $start AND start_time < $end
),
libraries AS (
{libraries}
),
judged AS (
    SELECT
        *,
        status_code = 'ERROR' AND input_tokens IS NULL AND output_tokens IS NULL AS failed,
        (input_tokens IS NULL OR (output_tokens IS NULL AND role <> 'embeddings')) AND NOT failed AS lacks_usage,
        lacks_usage AND NOT streamed AS without_usage,
        lacks_usage AND streamed AS streams_without_usage,
        role = 'llm' AND input_tokens IS NOT NULL AND cache_read_tokens IS NULL AS without_cache_split,
        token_semantics = 'unknown' AND cost_note = 'token_semantics_unknown' AS unknown_semantics,
        list_has_any(notes, {left_out}) AS understated,
        cost_note IN ('no_model', 'unknown_model', 'no_price') AS unknown_model,
        possible_duplicate AS possible_duplicates,
        list_has_any(notes, {clock_notes}) AS clock_skew
    FROM window_calls
    JOIN libraries USING (call_id)
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

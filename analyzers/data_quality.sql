-- Per service and library, what the calls of a window lack. `libraries`: call_libraries.sql, with whether a span says
-- that it streamed.
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
        input_tokens IS NULL OR (output_tokens IS NULL AND role <> 'embeddings') AS without_usage
    FROM window_calls
    JOIN libraries USING (call_id)
)
SELECT
    coalesce(service_name, '') AS service,
    library,
    version,
    count(*) AS calls,
    count(*) FILTER (failed) AS failed,
    count(*) FILTER (without_usage AND NOT failed AND NOT streamed) AS without_usage,
    count(*) FILTER (without_usage AND NOT failed AND streamed) AS streams_without_usage,
    count(*) FILTER (role = 'llm' AND input_tokens IS NOT NULL AND cache_read_tokens IS NULL) AS without_cache_split,
    count(*) FILTER (token_semantics = 'unknown' AND cost_note = 'token_semantics_unknown') AS unknown_semantics,
    count(*) FILTER (list_has_any(notes, {left_out})) AS understated,
    count(*) FILTER (cost_note IN ('no_model', 'unknown_model', 'no_price')) AS unknown_model,
    count(*) FILTER (json_array_length(members) > 1) AS duplicates_merged,
    count(*) FILTER (possible_duplicate) AS possible_duplicates,
    count(*) FILTER (list_has_any(notes, {clock_notes})) AS clock_skew,
    -- Both ends are list prices, whatever the plan: their ratio may be told for all plans together.
    -- An estimate that is no cost has the two ends alone, and is left out.
    (sum(coalesce(cost_high_usd, cost_usd) - coalesce(cost_low_usd, cost_usd)) FILTER (cost_usd IS NOT NULL)) / nullif(sum(cost_usd), 0)
        AS uncertain_share
FROM judged
GROUP BY ALL
ORDER BY calls DESC, service, library, version

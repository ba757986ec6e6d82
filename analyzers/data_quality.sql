-- Per service and library, what the calls of a window lack. {streaming} is whether a span says that it streamed.
-- The library of a call is that of the record which is preferred; the log records of a window are far fewer than spans.
WITH
window_calls AS (
    SELECT *, members ->> '$[0].record_hash' AS record_hash
    FROM calls
    WHERE start_time >= $start AND start_time < $end
),
-- A call may have begun before the record that tells of it.
libraries AS (
    SELECT
        call_id,
        coalesce(spans.scope_name, log_records.scope_name, window_calls.dialect, '') AS library,
        coalesce(spans.scope_version, log_records.scope_version, '') AS version,
        coalesce({streaming}, FALSE) AS streamed
    FROM window_calls
    LEFT JOIN spans
      ON spans.tenant = window_calls.tenant
     AND spans.trace_id = window_calls.trace_id
     AND spans.span_id = window_calls.span_id
     AND spans.start_time >= $start::TIMESTAMP - INTERVAL 1 HOUR
     AND spans.start_time < $end::TIMESTAMP + INTERVAL 1 HOUR
    LEFT JOIN log_records
      ON log_records.tenant = window_calls.tenant
     AND log_records.record_hash = window_calls.record_hash
     AND log_records.time >= $start::TIMESTAMP - INTERVAL 1 HOUR
     AND log_records.time < $end::TIMESTAMP + INTERVAL 1 HOUR
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
    (sum(coalesce(cost_high_usd, cost_usd)) - sum(coalesce(cost_low_usd, cost_usd))) / nullif(sum(cost_usd), 0)
        AS uncertain_share
FROM judged
GROUP BY ALL
ORDER BY calls DESC, service, library, version

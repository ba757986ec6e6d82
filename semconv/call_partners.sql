-- Whether call_edges.sql could find anything among records that are not nested: an id that comes twice, or more than one
-- library and ids that are missing or not comparable; and whether there are log records or ends of streams.
SELECT
    count(response_id) > count(DISTINCT (tenant, response_id)) FILTER (response_id IS NOT NULL) AS has_repeated_id,
    min(coalesce(scope_name, '')) <> max(coalesce(scope_name, ''))
    AND (
        count(*) FILTER (response_id IS NULL AND (input_tokens IS NOT NULL OR status_code = 'ERROR')) > 0
        OR min(left(response_id, 3)) <> max(left(response_id, 3))
    ) AS may_have_twins,
    coalesce(bool_or(signal = 'log'), FALSE) AS has_logs,
    coalesce(bool_or(signal = 'span' AND event_name IS NOT NULL), FALSE) AS has_streams
FROM call_candidates

-- Whether call_edges.sql could find anything among records that are not nested: an id that comes twice, or a record
-- without an id where more than one library reports.
SELECT
    count(response_id) > count(DISTINCT (tenant, response_id)) FILTER (response_id IS NOT NULL) AS has_repeated_id,
    count(*) FILTER (response_id IS NULL AND input_tokens IS NOT NULL) > 0
    AND min(coalesce(scope_name, '')) <> max(coalesce(scope_name, '')) AS may_have_twins
FROM call_candidates

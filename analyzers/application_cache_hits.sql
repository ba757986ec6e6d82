-- How often a service's cache of answers had one, by the attribute with which its spans say so (`cache_lookups`): those that
-- most spans have. `priced_hits`: calls that it answered and that have a cost all the same.
SELECT
    service,
    attribute,
    count(*) AS lookups,
    count(*) FILTER (is_hit) AS hits,
    count(*) FILTER (is_hit AND is_priced) AS priced_hits,
    coalesce(min(call_id, 5) FILTER (is_hit AND call_id IS NOT NULL), []) AS examples
FROM cache_lookups
GROUP BY service, attribute
ORDER BY lookups DESC, service NULLS LAST, attribute
LIMIT 20

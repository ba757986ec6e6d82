-- What spans say of a cache of answers: one row for each span and each of $attributes with which it says whether the cache
-- had one, with the call that the span tells of, if any. {{mentions}} asks whether one of them stands in the attributes.
WITH telling AS (
    SELECT tenant, trace_id, span_id, service_name AS service, attributes
    FROM spans
    WHERE start_time >= $start AND start_time < $end
      AND ({mentions})
),

said AS (
    SELECT
        telling.* EXCLUDE (attributes),
        unnest($attributes::VARCHAR[]) AS attribute,
        lower(unnest(json_extract_string(attributes, $paths::VARCHAR[]))) AS answer
    FROM telling
)

SELECT service, attribute, answer IN ('true', '1', 'yes', 'hit') AS is_hit, calls.call_id, calls.cost_usd > 0 AS is_priced
FROM said
LEFT JOIN calls
  ON calls.tenant = said.tenant
 AND calls.trace_id = said.trace_id
 AND calls.span_id = said.span_id
 AND calls.start_time >= $start
 AND calls.start_time < $end
WHERE answer IN ('true', '1', 'yes', 'hit', 'false', '0', 'no', 'miss')

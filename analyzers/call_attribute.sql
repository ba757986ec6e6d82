-- What an attribute says of each call of a window: (call_id, value), NULL where nothing or contradictory things are said.
-- {path} is the attribute's path in JSON, {mark} a text that stands in every record which has it, both as literals.
-- Ranks as for configured dimensions: a call's own record, its nearest ancestor, elsewhere in its trace, its resource.
-- Of several records that reported one call those of the best rank tell, if they agree.
-- Parts of a trace are looked for within a day of the window, as far as the loader looks at first.
WITH RECURSIVE
window_calls AS (
    SELECT call_id, tenant, trace_id, span_id, members, signal = 'span' AND json_array_length(members) < 2 AS is_alone
    FROM calls
    WHERE start_time >= $start AND start_time < $end
),
-- Every record of the calls that not one span alone reported.
member_records AS (
    SELECT
        call_id,
        tenant,
        unnest(from_json(members, '[{{"trace_id":"VARCHAR","span_id":"VARCHAR","record_hash":"VARCHAR"}}]')) AS record
    FROM window_calls
    WHERE NOT is_alone
),
member_logs AS (
    SELECT
        call_id, tenant,
        log_records.trace_id, log_records.span_id,
        log_records.attributes ->> {path} AS value,
        log_records.resource_attributes ->> {path} AS resource_value
    FROM (
        SELECT call_id, tenant, record.record_hash AS record_hash
        FROM member_records
        WHERE record.record_hash IS NOT NULL
    )
    JOIN log_records USING (tenant, record_hash)
    WHERE log_records.time >= $start::TIMESTAMP - INTERVAL 1 DAY
      AND log_records.time < $end::TIMESTAMP + INTERVAL 1 DAY
),
-- A log record stands a step below the span in which it was written.
records AS MATERIALIZED (
    SELECT
        call_id, is_alone, tenant, trace_id, span_id,
        0 AS steps, NULL::VARCHAR AS value, NULL::VARCHAR AS resource_value
    FROM window_calls
    WHERE is_alone
    UNION ALL
    SELECT call_id, FALSE, tenant, record.trace_id, record.span_id, 0, NULL, NULL
    FROM member_records
    WHERE record.span_id IS NOT NULL
    UNION ALL
    SELECT call_id, FALSE, tenant, trace_id, span_id, 1, value, resource_value
    FROM member_logs
),
telling_spans AS MATERIALIZED (
    SELECT
        tenant, trace_id, span_id,
        attributes ->> {path} AS value,
        resource_attributes ->> {path} AS resource_value
    FROM spans
    WHERE start_time >= $start::TIMESTAMP - INTERVAL 1 DAY
      AND start_time < $end::TIMESTAMP + INTERVAL 1 DAY
      AND (contains(attributes::VARCHAR, {mark}) OR contains(resource_attributes::VARCHAR, {mark}))
),
trace_values AS (
    SELECT tenant, trace_id, min(value) AS low, max(value) AS high
    FROM (
        SELECT tenant, trace_id, value FROM telling_spans
        UNION ALL
        SELECT tenant, trace_id, value FROM records WHERE NOT is_alone
    )
    WHERE value IS NOT NULL AND trace_id IS NOT NULL
    GROUP BY ALL
),
by_record AS MATERIALIZED (
    SELECT
        records.*,
        CASE WHEN records.trace_id IS NULL THEN records.value ELSE trace_values.low END AS low,
        CASE WHEN records.trace_id IS NULL THEN records.value ELSE trace_values.high END AS high
    FROM records
    LEFT JOIN trace_values
      ON trace_values.tenant = records.tenant AND trace_values.trace_id = records.trace_id
),
-- Where all that the traces of a call say is one value, it is the call's, whatever its rank.
by_call AS (
    SELECT call_id, low, high FROM by_record WHERE is_alone
    UNION ALL
    SELECT call_id, min(low), max(high) FROM by_record WHERE NOT is_alone GROUP BY call_id
),
-- Only where traces say several things does it matter who stands above whom.
unclear AS MATERIALIZED (
    SELECT by_record.*
    FROM by_record
    SEMI JOIN (FROM by_call WHERE low <> high) USING (call_id)
),
family AS MATERIALIZED (
    SELECT spans.tenant, spans.trace_id, spans.span_id, spans.parent_span_id, telling_spans.value
    FROM spans
    SEMI JOIN unclear ON unclear.tenant = spans.tenant AND unclear.trace_id = spans.trace_id
    LEFT JOIN telling_spans
      ON telling_spans.tenant = spans.tenant
     AND telling_spans.trace_id = spans.trace_id
     AND telling_spans.span_id = spans.span_id
    WHERE spans.start_time >= $start::TIMESTAMP - INTERVAL 1 DAY
      AND spans.start_time < $end::TIMESTAMP + INTERVAL 1 DAY
),
-- Up from each record to the first that tells, at most 64 steps.
climb AS (
    SELECT
        unclear.call_id, unclear.tenant, unclear.trace_id, family.parent_span_id,
        coalesce(unclear.value, family.value) AS value,
        CASE WHEN unclear.value IS NULL THEN unclear.steps ELSE 0 END AS distance
    FROM unclear
    LEFT JOIN family
      ON family.tenant = unclear.tenant
     AND family.trace_id = unclear.trace_id
     AND family.span_id = unclear.span_id
    UNION ALL
    SELECT
        climb.call_id, climb.tenant, climb.trace_id, family.parent_span_id,
        family.value,
        climb.distance + 1
    FROM climb
    JOIN family
      ON family.tenant = climb.tenant
     AND family.trace_id = climb.trace_id
     AND family.span_id = climb.parent_span_id
    WHERE climb.value IS NULL AND climb.distance < 64
),
ranked AS (
    SELECT call_id, CASE WHEN distance = 0 THEN 1 ELSE 2 END AS rank, value AS low, value AS high
    FROM climb
    WHERE value IS NOT NULL
    UNION ALL
    SELECT call_id, 3, low, high
    FROM unclear
    WHERE low IS NOT NULL
),
best AS (
    SELECT call_id, low, high
    FROM ranked
    QUALIFY rank = min(rank) OVER (PARTITION BY call_id)
),
-- Nothing stands above a resource, so it tells only where nothing else does.
of_resources AS (
    SELECT by_record.call_id, coalesce(by_record.resource_value, telling_spans.resource_value) AS value
    FROM by_record
    SEMI JOIN (FROM by_call WHERE low IS NULL) USING (call_id)
    LEFT JOIN telling_spans
      ON telling_spans.tenant = by_record.tenant
     AND telling_spans.trace_id = by_record.trace_id
     AND telling_spans.span_id = by_record.span_id
)
SELECT call_id, low AS value FROM by_call WHERE low = high
UNION ALL
SELECT call_id, CASE WHEN min(low) = max(high) THEN min(low) END FROM best GROUP BY call_id
UNION ALL
SELECT call_id, CASE WHEN min(value) = max(value) THEN min(value) END FROM of_resources GROUP BY call_id

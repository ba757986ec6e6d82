-- What calls asked, by the hashes that the gate kept of their own spans: one row per call of which it is known. `hash`: of
-- the whole prompt. `bytes`: of its text. `parts`, `prefixes`, `texts`, `ends`: its boundaries, as semconv/prompt_hashes.py has
-- them. `told_by`: 'hashes', which the gate kept, or 'contents', captured text; the two cannot be compared.
--
-- What is read off all records, {{of_records}}, and what off those of the calls alone, as it takes longer: {{of_calls}}.
WITH wanted AS MATERIALIZED (
    SELECT call_id, hash(tenant, trace_id, span_id) AS record
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND span_id IS NOT NULL AND {of}
),

-- Records begin before their call or after it.
records AS (
    SELECT hash(tenant, trace_id, span_id) AS record, {of_records}
    FROM (
        SELECT tenant, trace_id, span_id, evidence, instr(evidence::VARCHAR, '"prompt":{{"hash":"') AS begins
        FROM spans
        WHERE start_time >= $start - INTERVAL 1 HOUR AND start_time < $end + INTERVAL 1 HOUR
            AND evidence IS NOT NULL
    )
    WHERE begins > 0
)

SELECT wanted.call_id, {of_calls}
FROM records
JOIN wanted USING (record)

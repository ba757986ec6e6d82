-- The sections of the prompts of `bloat_calls`: which calls have which, how long each is, and its text once.
WITH captured AS (
    FROM contents
    SEMI JOIN bloat_calls USING (tenant, trace_id, span_id)
),

{sections}

SELECT
    call_id,
    role,
    md5(role || chr(31) || text) AS section,
    length(text) AS chars,
    CASE WHEN row_number() OVER (PARTITION BY section ORDER BY call_id, number, place) = 1 THEN text END AS text
FROM sections
JOIN bloat_calls USING (tenant, trace_id, span_id)
WHERE text <> ''

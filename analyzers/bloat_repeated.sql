-- Sections that an agent (service where none is known) sends again: in several calls, of more than one session or trace.
-- Those that make up most of the cost first, of prompts without a known cost those with most text. Tools are left out:
-- their names and types are no prose.
WITH sent AS (
    SELECT call_id, section, any_value(role) AS role, sum(chars)::BIGINT AS chars
    FROM bloat_sections
    GROUP BY call_id, section
),

prompts AS (
    SELECT call_id, sum(chars)::BIGINT AS chars
    FROM bloat_sections
    GROUP BY call_id
)

SELECT
    calls.agent,
    calls.service,
    sent.section,
    any_value(sent.role) AS role,
    any_value(texts.text) AS text,
    count(*) AS calls,
    sum(sent.chars)::BIGINT AS chars
FROM sent
JOIN prompts ON prompts.call_id = sent.call_id
JOIN bloat_calls AS calls ON calls.call_id = sent.call_id
JOIN (FROM bloat_sections WHERE text IS NOT NULL) AS texts ON texts.section = sent.section
WHERE sent.role <> 'tools'
GROUP BY calls.agent, calls.service, sent.section
HAVING count(*) >= $least_calls AND count(DISTINCT calls.thread) > 1 AND min(sent.chars) >= $least_chars
ORDER BY
    round(sum(sent.chars / prompts.chars * calls.cost_input_usd::DOUBLE), 9) DESC NULLS LAST,
    sum(sent.chars) DESC, agent NULLS LAST, service NULLS LAST, section
LIMIT $most_sections

-- Calls that a cache of answers in front of the provider would have answered: an identical call (same tenant, prompt, model,
-- operation and, where they are known, parameters) had ended before, at most $time_to_live ago, so that what is asked for
-- keeps an answer alive. `prompts` is from prompts.py, `asked_again` from asked_again.sql, `cache_lookups` from
-- cache_lookups.sql: what a cache did answer is no such call.
WITH
-- Read twice, of which one reading needs few columns and the other few rows.
wanted AS NOT MATERIALIZED (
    SELECT
        calls.call_id,
        calls.tenant,
        calls.trace_id,
        calls.span_id,
        calls.agent_name AS agent,
        CASE WHEN calls.agent_name IS NULL THEN calls.service_name END AS service,
        coalesce(calls.request_model, calls.response_model) AS model,
        coalesce(calls.operation, '') AS operation,
        calls.pricing_mode,
        hash(agent, service, model, calls.pricing_mode) AS group_id,
        calls.user_id,
        calls.start_time,
        calls.start_time + to_microseconds(greatest(coalesce(calls.duration_ns, 0) // 1000, 1)) AS end_time,
        calls.output_tokens,
        calls.input_tokens + coalesce(calls.output_tokens, 0) AS tokens,
        calls.cost_usd
    FROM calls
    WHERE calls.start_time >= $start AND calls.start_time < $end AND calls.role = 'llm'
      AND calls.status_code <> 'ERROR' AND NOT calls.possible_duplicate
      AND calls.call_id NOT IN (SELECT call_id FROM cache_lookups WHERE is_hit AND call_id IS NOT NULL)
),

groups AS (
    SELECT group_id, count(*) AS group_calls, sum(cost_usd) AS group_usd
    FROM wanted
    SEMI JOIN prompts ON prompts.call_id = wanted.call_id
    GROUP BY group_id
),

asked AS MATERIALIZED (
    SELECT wanted.*, asked_again.hash AS prompt, asked_again.told_by
    FROM wanted
    JOIN asked_again ON asked_again.call_id = wanted.call_id
),

-- What else an answer depends on, of calls that a span tells of.
parameters AS (
    SELECT
        asked.call_id,
        hash(json_extract_string(spans.attributes, [
            '$."gen_ai.request.temperature"', '$."gen_ai.request.top_p"', '$."gen_ai.request.top_k"',
            '$."gen_ai.request.max_tokens"', '$."gen_ai.request.seed"', '$."gen_ai.request.stop_sequences"',
            '$."gen_ai.request.frequency_penalty"', '$."gen_ai.request.presence_penalty"',
            '$."gen_ai.request.choice.count"', '$."gen_ai.request.reasoning.level"', '$."gen_ai.output.type"',
            '$."llm.invocation_parameters"'
        ])::VARCHAR) AS parameters
    FROM asked
    JOIN spans
      ON spans.tenant = asked.tenant AND spans.trace_id = asked.trace_id AND spans.span_id = asked.span_id
    WHERE spans.start_time >= $start::TIMESTAMP - INTERVAL 1 HOUR AND spans.start_time < $end::TIMESTAMP + INTERVAL 1 HOUR
),

identified AS MATERIALIZED (
    SELECT
        asked.*,
        hash(asked.tenant, prompt, model, operation, coalesce(parameters.parameters, 0)) AS identity
    FROM asked
    LEFT JOIN parameters ON parameters.call_id = asked.call_id
),

-- Calls are asked and, later, answered: two events. Of several that are answered at once, the longest tells.
events AS (
    SELECT call_id, identity, start_time AS moment, TRUE AS is_question, NULL AS answer
    FROM identified
    UNION ALL
    SELECT
        NULL, identity, end_time, FALSE,
        {'end_time': end_time, 'output_tokens': max(output_tokens), 'user_id': max(user_id)}
    FROM identified
    GROUP BY identity, end_time
),

answered AS (
    SELECT
        call_id,
        is_question,
        last_value(answer IGNORE NULLS) OVER (PARTITION BY identity ORDER BY moment, is_question, call_id) AS answer
    FROM events
)

SELECT
    to_json([agent, service, model, pricing_mode])::VARCHAR AS candidate,
    identified.call_id, agent, service, model, pricing_mode, prompt, told_by,
    identity AS place,
    coalesce(output_tokens = answer.output_tokens, FALSE) AS is_same,
    coalesce(user_id <> answer.user_id, FALSE) AS is_other,
    cost_usd, tokens, group_calls, group_usd
FROM identified
JOIN answered ON answered.call_id = identified.call_id AND answered.is_question
JOIN groups ON groups.group_id = identified.group_id
WHERE start_time <= answer.end_time + $time_to_live::INTERVAL

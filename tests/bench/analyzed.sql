-- What tests/planted.py made of some days, as a lake has it: calls, one service of three telling their cost; the spans
-- that reported them, with hashes of their prompts; and the spans of their tools, with the lengths of what the gate took.
-- One agent of five hardly reads its cache.
UPDATE planted_calls SET cache_read_tokens = cache_read_tokens // 10 WHERE hash(agent_name) % 5 = 0;

INSERT INTO lake.calls BY NAME
SELECT
    * EXCLUDE (seed),
    CASE WHEN service_name = 'service-0'
        THEN (cost_usd * (1 + 0.02 * even(seed, 'reported ' || call_id, 0, 0)))::DECIMAL(38, 12) END AS reported_cost_usd
FROM planted_calls;

INSERT INTO lake.spans BY NAME
WITH
resources AS (
    SELECT
        'service-' || number AS service_name,
        to_json({
            'service.name': 'service-' || number,
            'service.version': '2.4.1',
            'service.instance.id': md5('instance ' || number),
            'deployment.environment.name': 'production',
            'telemetry.sdk.language': 'python',
            'telemetry.sdk.name': 'opentelemetry',
            'telemetry.sdk.version': '1.38.0'
        }) AS resource_attributes
    FROM range(3) AS services (number)
),

-- Half of what agents ask for is one and the same tool.
tools AS (
    SELECT
        * EXCLUDE (seed)
            REPLACE (CASE WHEN even(seed, 'tool ' || span_id, 0, 0) < 0.5 THEN 'shell' ELSE tool_name END AS tool_name),
        to_json({
            'gen_ai.operation.name': 'execute_tool',
            'gen_ai.tool.name': tool_name,
            'gen_ai.tool.call.id': tool_call_id,
            'gen_ai.agent.name': agent_name
        }) AS attributes,
        to_json({'gated': {
            'gen_ai.tool.call.arguments': (exp(4 + normal(seed, 'arguments ' || span_id, 0, 0)))::BIGINT,
            'gen_ai.tool.call.result': (exp(6 + normal(seed, 'result ' || span_id, 0, 0)))::BIGINT
        }}) AS evidence
    FROM planted_spans
),

-- Tools and instructions are an agent's, what follows a session's, the last message a call's own; but one call of fifty
-- asks one of a hundred questions that every session of its agent may ask.
said AS (
    SELECT
        *,
        even(seed, 'asks again ' || call_id, 0, 0) < 0.02 AS asks_again,
        'question ' || (hash(call_id) % 100) AS question,
        [
            agent_name,
            agent_name || ' system',
            CASE WHEN asks_again THEN question ELSE session_id END,
            CASE WHEN asks_again THEN question ELSE session_id END || ' answer',
            CASE WHEN asks_again THEN question || ' again' ELSE call_id END
        ] AS beginnings
    FROM planted_calls
),

asked AS (
    SELECT
        * EXCLUDE (asks_again, question),
        list_transform(range(1, 6), lambda place: (hash(beginnings[:place]) >> 1)::BIGINT) AS prefixes,
        list_transform(beginnings, lambda one: (hash(one) >> 1)::BIGINT) AS texts,
        [4000, 8000, 8100, 8400, CASE WHEN asks_again THEN 8500 ELSE greatest(8500, 4 * coalesce(input_tokens, 0)) END] AS ends
    FROM said
),

reporting AS (
    SELECT
        COLUMNS(
            lambda name: name NOT IN (
                'seed', 'call_id', 'members', 'signal', 'possible_duplicate', 'pricing_mode',
                'beginnings', 'prefixes', 'texts', 'ends'
            )
            AND NOT name LIKE 'cost_%' AND NOT name LIKE '%_inherited'
        ),
        'chat ' || request_model AS name,
        'CLIENT' AS kind,
        epoch_ns(start_time) AS start_unix_nano,
        start_unix_nano + duration_ns AS end_unix_nano,
        to_json({
            'gen_ai.operation.name': operation,
            'gen_ai.provider.name': provider,
            'gen_ai.request.model': request_model,
            'gen_ai.response.model': response_model,
            'gen_ai.response.id': response_id,
            'gen_ai.request.temperature': 0.7,
            'gen_ai.request.max_tokens': 4096,
            'gen_ai.usage.input_tokens': input_tokens,
            'gen_ai.usage.output_tokens': output_tokens,
            'gen_ai.usage.cache_read.input_tokens': cache_read_tokens,
            'gen_ai.conversation.id': session_id,
            'gen_ai.agent.name': agent_name,
            'server.address': 'api.' || provider || '.example',
            'app.job_id': md5(session_id),
            'app.feature_flags': 'a,c,f',
            'user.id': user_id
        }) AS attributes,
        to_json({
            'gated': {'gen_ai.input.messages': 4 * input_tokens, 'gen_ai.output.messages': 4 * output_tokens},
            'prompt': {
                'hash': md5(prefixes::VARCHAR),
                'bytes': ends[-1],
                'parts': ['tools', 'system', 'user', 'assistant', 'user'],
                'prefixes': prefixes,
                'texts': texts,
                'ends': ends
            }
        }) AS evidence,
        'otlp' AS source,
        start_time + to_microseconds(duration_ns // 1000) + INTERVAL 5 SECOND AS received_at,
        'planted' AS load_id
    FROM asked
),

made AS (FROM tools UNION ALL BY NAME FROM reporting)

SELECT
    *,
    'opentelemetry.instrumentation.' || CASE role WHEN 'tool' THEN 'agents' ELSE provider END AS scope_name,
    '2.1b0' AS scope_version
FROM made
JOIN resources USING (service_name)
ORDER BY start_time;

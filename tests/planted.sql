-- Sessions of agents on which nothing is out of line, one row per call, for a lake per seed from {first_seed} to
-- {last_seed} and for days from {first_day}, {first} to {last} (both ends exclusive). Every number is drawn from a hash
-- of the seed and of what it is about: neither threads nor the order of rows matter, and a row is the same whatever else
-- there is.
CREATE OR REPLACE TEMP TABLE planted AS
WITH days AS (
    SELECT
        seed,
        day,
        DATE '{first_day}' + day::INTEGER AS date,
        -- Half a day's work on Saturday, a quarter on Sunday; growth; days that differ for no reason.
        [1, 1, 1, 1, 1, 0.5, 0.25][isodow(date)] * (1 + {growth}) ** day * exp({unrest} * normal(seed, 'day', day, 0))
            AS busy,
        {mood} * normal(seed, 'mood', day, 0) AS mood
    FROM range({first_seed}, {last_seed}) AS seeds (seed)
    CROSS JOIN range({first}, {last}) AS numbers (day)
),

-- As many as come of independent chances: their number is nearly that of Poisson.
sessions AS (
    SELECT
        seed,
        day,
        day * 1_000_000 + number AS session,
        date,
        -- Some agents and users have several times the sessions of others.
        ({agents} * even(seed, 'agent', session, 0) ** 1.5)::INTEGER % {agents} AS agent,
        ({users} * even(seed, 'user', session, 0) ** 1.5)::INTEGER % {users} AS user,
        round(exp(ln({calls_a_session}) + mood + 0.8 * {spread} * normal(seed, 'turns', session, 0))) AS turns_drawn,
        greatest(1, least(100, turns_drawn))::BIGINT AS turns,
        round(exp(ln(4000) + mood + 0.7 * {spread} * normal(seed, 'context', session, 0)))::BIGINT AS context,
        round(exp(ln(800) + 0.5 * normal(seed, 'step', session, 0)))::BIGINT AS step,
        -- Work is around one o'clock, and ends before midnight.
        greatest(0, least(46_800 + 9_000 * normal(seed, 'hour', session, 0), 86_000 - 40 * turns)) AS begins
    FROM days
    CROSS JOIN range({most_sessions}) AS numbers (number)
    WHERE even(seed, 'session', day, number) * {most_sessions} < {sessions_a_day} * busy
),

numbered AS (
    SELECT *, unnest(range(turns)) AS turn
    FROM sessions
),

turns AS (
    SELECT
        *,
        date + to_microseconds(((begins + 40 * turn + 10 * even(seed, 'pause', session, turn)) * 1e6)::BIGINT)
            AS start_time,
        (least(15, exp(1 + 0.5 * normal(seed, 'takes', session, turn))) * 1e9)::BIGINT AS duration_ns,
        even(seed, 'failure', session, turn) < {failures} AS failed,
        -- The conversation is sent again with every call, and was cached by the one before it.
        context + turn * step AS input,
        CASE WHEN turn > 0 AND input - step >= 2048 THEN input - step ELSE 0 END AS cached,
        greatest(1, round(exp(ln(250) + 0.8 * normal(seed, 'answer', session, turn))))::BIGINT AS answer,
        even(seed, 'tool', session, turn) < 0.6 AND turn < turns - 1 AS used_a_tool
    FROM numbered
)

SELECT turns.* EXCLUDE (turns_drawn), models.*, modes.*
FROM turns
JOIN (VALUES {models})
    AS models (model_number, provider, model, input_rate, output_rate, read_rate, write_rate)
    ON model_number = agent % {model_count}
JOIN (VALUES {modes}) AS modes (mode_number, mode, plan_tier) ON mode_number = agent % {mode_count};

CREATE OR REPLACE TEMP TABLE planted_calls AS
WITH priced AS (
    SELECT
        *,
        (CASE WHEN NOT failed THEN input END)::BIGINT AS input_tokens,
        (CASE WHEN NOT failed AND read_rate IS NOT NULL THEN cached END)::BIGINT AS cache_read_tokens,
        (CASE WHEN NOT failed AND write_rate IS NOT NULL THEN input - cached END)::BIGINT AS cache_write_tokens,
        (CASE WHEN NOT failed THEN answer END)::BIGINT AS output_tokens,
        ((input_tokens - coalesce(cache_read_tokens, 0) - coalesce(cache_write_tokens, 0)) * input_rate)::DECIMAL(38, 12)
            AS cost_input_usd,
        (output_tokens * output_rate)::DECIMAL(38, 12) AS cost_output_usd,
        (cache_read_tokens * read_rate)::DECIMAL(38, 12) AS cost_cache_read_usd,
        (cache_write_tokens * write_rate)::DECIMAL(38, 12) AS cost_cache_write_usd
    FROM planted
)

SELECT
    seed,
    format('{{}}-{{}}-{{}}', seed, session, turn) AS call_id,
    '' AS tenant,
    md5(format('{{}}-{{}}', seed, session)) AS trace_id,
    left(md5(call_id), 16) AS span_id,
    to_json([{{'signal': 'span', 'trace_id': trace_id, 'span_id': span_id}}]) AS members,
    'span' AS signal,
    start_time,
    duration_ns,
    'service-' || agent % 3 AS service_name,
    'production' AS deployment_environment,
    'genai' AS dialect,
    'llm' AS role,
    'chat' AS operation,
    provider,
    model AS request_model,
    CASE WHEN NOT failed THEN model END AS response_model,
    CASE WHEN NOT failed THEN 'resp-' || span_id END AS response_id,
    CASE WHEN failed THEN 'timeout' END AS error_type,
    format('session-{{}}-{{}}', seed, session) AS session_id,
    format('user-{{}}', user) AS user_id,
    format('agent-{{}}', agent) AS agent_name,
    input_tokens,
    cache_read_tokens,
    cache_write_tokens,
    cache_write_tokens AS cache_write_5m_tokens,
    output_tokens,
    'inclusive' AS token_semantics,
    'convention' AS token_evidence,
    false AS session_inherited,
    false AS user_inherited,
    false AS agent_inherited,
    false AS tool_inherited,
    false AS possible_duplicate,
    provider || CASE mode WHEN 'api' THEN '' ELSE '-' || plan_tier END AS billing_account,
    plan_tier,
    mode AS pricing_mode,
    cost_input_usd + cost_output_usd + coalesce(cost_cache_read_usd, 0) + coalesce(cost_cache_write_usd, 0)
        AS cost_usd,
    cost_input_usd,
    cost_output_usd,
    cost_cache_read_usd,
    cost_cache_write_usd,
    CASE WHEN failed THEN 'ERROR' ELSE 'UNSET' END AS status_code
FROM priced
ORDER BY seed, start_time;

CREATE OR REPLACE TEMP TABLE planted_spans AS
SELECT
    seed,
    '' AS tenant,
    md5(format('{{}}-{{}}', seed, session)) AS trace_id,
    left(md5(format('{{}}-{{}}-{{}}-tool', seed, session, turn)), 16) AS span_id,
    -- In turns, as an agent that makes headway uses them.
    ['read_file', 'search', 'edit_file', 'run_tests', 'list_files', 'fetch'][1 + (session + turn) % 6] AS tool_name,
    'execute_tool ' || tool_name AS name,
    'INTERNAL' AS kind,
    planted.start_time + INTERVAL 20 SECOND AS start_time,
    epoch_ns(planted.start_time + INTERVAL 20 SECOND) AS start_unix_nano,
    start_unix_nano + 2_000_000_000 AS end_unix_nano,
    2_000_000_000 AS duration_ns,
    'UNSET' AS status_code,
    'service-' || agent % 3 AS service_name,
    'genai' AS dialect,
    'tool' AS role,
    'execute_tool' AS operation,
    format('session-{{}}-{{}}', seed, session) AS session_id,
    format('user-{{}}', user) AS user_id,
    format('agent-{{}}', agent) AS agent_name,
    format('tool-{{}}-{{}}-{{}}', seed, session, turn) AS tool_call_id,
    'otlp' AS source,
    planted.start_time + INTERVAL 25 SECOND AS received_at,
    'planted' AS load_id
FROM planted
WHERE used_a_tool
ORDER BY seed, start_time;

-- Failed calls of a window, one row each, with whether the same call came again: the next call of the same session (or
-- trace), agent and model that begins after the failed one ended, soon enough and with about as much input. Providers
-- tell no usage of most failed calls: what is not known does not count against that.
WITH window_calls AS NOT MATERIALIZED (
    SELECT
        call_id,
        -- What comes next of what: a call without session or trace stands alone, and a failed one has no answer that
        -- could name a model.
        hash(
            tenant, coalesce(session_id, trace_id, call_id), coalesce(agent_name, ''),
            coalesce(request_model, response_model, '')
        ) AS place,
        agent_name AS agent,
        coalesce(request_model, response_model) AS model,
        pricing_mode,
        start_time,
        start_time + to_microseconds(coalesce(duration_ns, 0) // 1000) AS end_time,
        status_code = 'ERROR' AS failed,
        error_type,
        input_tokens,
        input_tokens + coalesce(output_tokens, 0) AS tokens,
        cost_usd
    FROM calls
    WHERE start_time >= $start AND start_time < $end::TIMESTAMP + $retry_within::INTERVAL
),

failed_calls AS MATERIALIZED (
    SELECT *
    FROM window_calls
    WHERE failed AND start_time < $end
),

-- Of several that begin at once, one.
following AS (
    SELECT place, start_time, unnest(arg_min({'failed': failed, 'input_tokens': input_tokens}, call_id))
    FROM window_calls
    WHERE place IN (SELECT place FROM failed_calls)
    GROUP BY place, start_time
),

followed AS (
    SELECT
        failed_calls.*,
        following.failed AS failed_again,
        following.start_time <= failed_calls.end_time + $retry_within::INTERVAL
            AND coalesce(
                abs(following.input_tokens - failed_calls.input_tokens)
                    <= $similar_input * greatest(following.input_tokens, failed_calls.input_tokens),
                TRUE
            ) AS is_same
    FROM failed_calls
    ASOF LEFT JOIN following
      ON following.place = failed_calls.place
     AND following.start_time > failed_calls.end_time
)

SELECT
    to_json(['failed', agent, model, pricing_mode])::VARCHAR AS candidate,
    call_id,
    agent,
    model,
    pricing_mode,
    error_type,
    cost_usd,
    tokens,
    coalesce(is_same, FALSE) AS retried,
    coalesce(is_same AND NOT failed_again, FALSE) AS retry_succeeded
FROM followed

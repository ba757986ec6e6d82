-- Answers that tell how long they are, reasoning apart, by cohort: what an agent (a service where no agent is known) does
-- with one model in one operation, requests for tools apart from other answers, in one pricing mode. {by} is the column
-- by which a cohort falls into parts. Parameters are the window's.
answers AS (
    SELECT
        call_id,
        agent_name AS agent,
        CASE WHEN agent_name IS NULL THEN service_name END AS service,
        coalesce(response_model, request_model) AS model,
        operation,
        coalesce(finish_reasons[1] LIKE '%tool%' OR finish_reasons[1] = 'function_call', FALSE) AS asks_for_tool,
        pricing_mode,
        (hash(agent, service, model, operation, asks_for_tool, pricing_mode) >> 1)::BIGINT AS cohort,
        {by} AS part,
        hash(tenant, coalesce(session_id, trace_id, call_id)) AS session,
        coalesce(finish_reasons[1] IN ('length', 'max_tokens', 'MAX_TOKENS', 'max_output_tokens'), FALSE) AS cut_off,
        input_tokens,
        reasoning_tokens,
        coalesce(reasoning_tokens, 0) AS reasoned,
        output_tokens - reasoned AS answer_tokens,
        -- What the cost of the output is for: sound has its own, reasoning where it has its own price.
        output_tokens - least(coalesce(audio_output_tokens, 0), output_tokens)
            - CASE WHEN cost_reasoning_usd > 0 THEN reasoned ELSE 0 END AS priced_tokens,
        cost_output_usd
    FROM calls
    WHERE start_time >= $start AND start_time < $end
      AND role = 'llm' AND status_code <> 'ERROR' AND output_tokens > coalesce(reasoning_tokens, 0)
)

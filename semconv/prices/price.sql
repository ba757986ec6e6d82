-- What calls cost and how their money is meant: one row per row of priced_calls.
WITH
readings AS (
    SELECT
        {columns}, names.sheet, names.is_listed, names.is_regional, input_tokens{cast} AS input,
        coalesce(call.response_model, call.request_model) IS NOT NULL AS has_model,
        token_semantics = 'unknown' AND cached_tokens(cache_read_tokens, cache_write_tokens) > 0 AS has_unknown_input,
        {bounds}
    FROM priced_calls AS call
    LEFT JOIN price_names AS names
      ON {same_names}
    {join_bounds}
),
{parts},
costed AS (
    SELECT
        *,
        CASE WHEN less > 0 OR least_total < total THEN least(total - less, coalesce(least_total, total)) ELSE total END
            AS low_total,
        CASE WHEN more > 0 OR most_total > total THEN greatest(total + more, coalesce(most_total, total)) ELSE total END
            AS high_total,
        -- A token is at least one byte. It is seldom more than 16, for words of English have about 4 characters a
        -- token (OpenAI's rule of thumb).
        role = 'embeddings' AND input IS NULL AND input_text_bytes > 0 AND input_rate IS NOT NULL
        AND status_code <> 'ERROR' AND (is_override OR plan_tier IS DISTINCT FROM 'local') AS is_estimated
    FROM totals
)
SELECT
    node,
    CASE
        WHEN plan_tier = 'api' THEN 'api'
        WHEN plan_tier IN ('pro', 'max_5x', 'max_20x', 'plus', 'team', 'enterprise')
            THEN CASE WHEN usage_billed(billing_account, start_time::DATE) THEN 'api' ELSE 'subscription' END
        WHEN plan_tier = 'local' THEN 'local'
        ELSE 'unknown'
    END AS pricing_mode,
    {usd}(total) AS cost_usd,
    {usd}(CASE WHEN is_estimated THEN {pico}((input_text_bytes + 15) // 16 * input_rate) ELSE low_total END)
        AS cost_low_usd,
    {usd}(CASE WHEN is_estimated THEN {pico}(input_text_bytes * input_rate) ELSE high_total END) AS cost_high_usd,
    {usd}(input_part) AS cost_input_usd,
    {usd}(output_part) AS cost_output_usd,
    {usd}(cache_read_part) AS cost_cache_read_usd,
    {usd}(cache_write_part) AS cost_cache_write_usd,
    {usd}(reasoning_part) AS cost_reasoning_usd,
    {usd}(audio_part) AS cost_audio_usd,
    {usd}(request_part) AS cost_request_usd,
    CASE WHEN is_priced OR is_estimated THEN price_id END AS price_id,
    -- The notes.
    CASE
        WHEN is_priced THEN CASE
            WHEN cached_tokens(cache_read_tokens, cache_write_tokens) > input THEN 'cache_exceeds_input'
            WHEN is_other_tier THEN 'tier_not_priced'
            WHEN is_regional AND NOT is_override THEN 'region_not_priced'
            WHEN has_unknown_input THEN 'token_semantics_unknown'
            WHEN may_be_read THEN 'cache_split_unknown'
            WHEN may_live_longer THEN 'cache_ttl_unknown'
        END
        WHEN is_estimated THEN 'estimated_from_text'
        WHEN plan_tier = 'local' THEN 'local'
        WHEN input IS NULL AND output_tokens IS NULL THEN 'no_usage'
        WHEN input IS NULL THEN 'no_input_tokens'
        WHEN NOT has_model THEN 'no_model'
        WHEN is_listed IS NOT TRUE THEN 'unknown_model'
        WHEN output_tokens IS NULL AND role = 'llm' THEN 'no_output_tokens'
        ELSE 'no_price'
    END AS cost_note
FROM costed

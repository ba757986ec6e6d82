-- What calls cost and how their money is meant: TEMP call_costs, one row per row of {relation}.
CREATE OR REPLACE TEMP TABLE call_costs AS
WITH
moded AS (
    SELECT
        node, role, provider, response_model, request_model, input_tokens, output_tokens,
        CASE
            WHEN plan_tier = 'api' THEN 'api'
            WHEN plan_tier IN ('pro', 'max_5x', 'max_20x', 'plus', 'team', 'enterprise')
                THEN CASE WHEN usage_billed(billing_account, start_time::DATE) THEN 'api' ELSE 'subscription' END
            WHEN plan_tier = 'local' THEN 'local'
            ELSE 'unknown'
        END AS pricing_mode,
        CASE WHEN plan_tier IS DISTINCT FROM 'local' THEN node END AS priced_node,
        batch IS TRUE
        OR coalesce(service_tier, 'standard') NOT IN ('standard', 'default', 'auto', 'on_demand')
        OR coalesce(lower(speed), 'standard') NOT IN ('standard', 'normal') AS has_special_tier
    FROM {relation}
)
SELECT
    moded.node, pricing_mode,
    listed.* EXCLUDE (node, reading, cut),
    least(listed.cost_usd, other.cost_usd) AS cost_low_usd,
    greatest(listed.cost_usd, other.cost_usd) AS cost_high_usd,
    CASE
        WHEN priced_node IS NULL THEN 'local'
        WHEN listed.node IS NOT NULL THEN CASE
            WHEN listed.cut THEN 'cache_exceeds_input'
            WHEN has_special_tier THEN 'tier_not_priced'
            WHEN other.node IS NOT NULL THEN 'token_semantics_unknown'
        END
        WHEN input_tokens IS NULL AND output_tokens IS NULL THEN 'no_usage'
        WHEN input_tokens IS NULL THEN 'no_input_tokens'
        WHEN coalesce(moded.response_model, moded.request_model) IS NULL THEN 'no_model'
        WHEN price_models.price_model IS NULL THEN 'unknown_model'
        WHEN output_tokens IS NULL AND role = 'llm' THEN 'no_output_tokens'
        ELSE 'no_price'
    END AS cost_note
FROM moded
LEFT JOIN price_models
  ON price_models.provider IS NOT DISTINCT FROM moded.provider
 AND price_models.response_model IS NOT DISTINCT FROM moded.response_model
 AND price_models.request_model IS NOT DISTINCT FROM moded.request_model
LEFT JOIN call_prices AS listed ON listed.node = priced_node AND listed.reading = 1
LEFT JOIN call_prices AS other ON other.node = priced_node AND other.reading = 2

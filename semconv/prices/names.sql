-- The ways in which calls name what they are priced by, whether their input may reach another context
-- tier than it says, and the greatest count of tokens.
SELECT
    provider, response_model, request_model, {account} AS billing_account,
    price_variant(batch, service_tier, speed) AS variant, model_region,
    token_semantics = 'unknown' AND cached_tokens(cache_read_tokens, cache_write_tokens) > 0
    AND input_tokens + cached_tokens(cache_read_tokens, cache_write_tokens) > {first_tier} AS is_in_doubt,
    max(greatest({counts})) AS most_tokens
FROM priced_calls
WHERE response_model IS NOT NULL OR request_model IS NOT NULL
GROUP BY ALL

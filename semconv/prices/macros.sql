-- Rounding to a whole number, half to even; the divisor is even.
CREATE OR REPLACE TEMP MACRO half_even(n, divisor) AS (n + (divisor // 2 - 1) + (n // divisor) % 2) // divisor;

-- What of a call's context prices may depend on, by the names of semconv/prices/sheets.py.
CREATE OR REPLACE TEMP MACRO price_variant(batch, service_tier, speed) AS CASE
    WHEN batch IS NULL AND service_tier IS NULL AND speed IS NULL THEN 'standard'
    ELSE coalesce(
        nullif(
            concat_ws(
                '+',
                CASE WHEN batch OR lower(service_tier) = 'batch' THEN 'batch' END,
                CASE
                    WHEN lower(service_tier) NOT IN ('', 'default', 'standard', 'auto', 'on_demand', 'batch')
                        THEN lower(service_tier)
                END,
                CASE WHEN lower(speed) NOT IN ('', 'standard', 'normal') THEN 'speed-' || lower(speed) END
            ),
            ''
        ),
        'standard'
    )
END;

-- Tokens that stand in the input but for what the sender counted apart.
CREATE OR REPLACE TEMP MACRO cached_tokens(cache_read_tokens, cache_write_tokens) AS
    coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0);

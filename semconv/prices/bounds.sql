-- Of calls whose sheet or input is in doubt: the least and the most that they may cost.
WITH
readings AS (
    SELECT
        {columns},
        CASE WHEN is_most THEN coalesce(high_sheet, names.sheet) ELSE coalesce(low_sheet, names.sheet) END AS sheet,
        input_tokens{cast} + CASE
            WHEN is_most AND token_semantics = 'unknown' THEN cached_tokens(cache_read_tokens, cache_write_tokens) ELSE 0
        END AS input,
        FALSE AS has_unknown_input
    FROM priced_calls AS call
    JOIN price_names AS names
      ON {same_names}
    CROSS JOIN (VALUES (TRUE), (FALSE)) AS ends (is_most)
    WHERE names.low_sheet IS NOT NULL
       OR (token_semantics = 'unknown' AND cached_tokens(cache_read_tokens, cache_write_tokens) > 0)
),
{parts}
SELECT node, min(total - less) AS least_total, max(total + more) AS most_total
FROM totals
GROUP BY node

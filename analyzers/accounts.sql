-- Calls per account, plan, pricing mode and billing cycle. The parameters $accounts, $numbers, $starts and $ends are
-- parallel lists: the periods of billing.py, of which those of one account do not overlap. $first is the window's start
-- or, where a quota has to be counted, the start of the earliest cycle.
WITH
periods AS (
    SELECT
        unnest($accounts::VARCHAR[]) AS account,
        unnest($numbers::INTEGER[]) AS number,
        unnest($starts::TIMESTAMP[]) AS starts,
        unnest($ends::TIMESTAMP[]) AS ends
),
placed AS (
    SELECT
        calls.*,
        periods.number AS period,
        calls.start_time >= $start AS in_window,
        -- A call that failed before anything was counted is not billed.
        status_code = 'ERROR' AND input_tokens IS NULL AND output_tokens IS NULL AS failed_without_usage,
        input_tokens IS NULL OR (output_tokens IS NULL AND role <> 'embeddings') AS without_usage
    FROM calls
    -- An ASOF JOIN would sort the calls: it takes three times as long.
    LEFT JOIN periods
      ON periods.account = calls.billing_account
     AND calls.start_time >= periods.starts
     AND calls.start_time < periods.ends
    WHERE calls.start_time >= $first AND calls.start_time < $end
)
SELECT
    billing_account AS account,
    plan_tier,
    pricing_mode,
    period,
    count(*) FILTER (in_window) AS calls,
    sum(input_tokens) FILTER (in_window)::BIGINT AS input_tokens,
    sum(output_tokens) FILTER (in_window)::BIGINT AS output_tokens,
    sum(cost_usd) FILTER (in_window) AS cost_usd,
    -- An estimate has the two ends alone, and is in no sum.
    sum(coalesce(cost_low_usd, cost_usd)) FILTER (in_window AND cost_usd IS NOT NULL) AS cost_low_usd,
    sum(coalesce(cost_high_usd, cost_usd)) FILTER (in_window AND cost_usd IS NOT NULL) AS cost_high_usd,
    count(*) FILTER (in_window AND cost_usd IS NULL AND pricing_mode <> 'local') AS calls_without_cost,
    count(*) FILTER (in_window AND cost_usd IS NULL AND NOT failed_without_usage) AS calls_of_unknown_cost,
    count(*) FILTER (in_window AND without_usage) AS calls_without_usage,
    -- Of the whole cycle until the window's end: a quota does not begin with the window.
    sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0))::BIGINT AS cycle_tokens,
    count(*) FILTER (without_usage AND NOT failed_without_usage) AS cycle_calls_without_usage
FROM placed
GROUP BY ALL

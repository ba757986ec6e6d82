-- What each unit cost, per pricing mode; the totals of each mode (is_total), with what a unit costs there. A unit is a
-- distinct value; calls without one stand in a row of their own whose unit is NULL, and in the totals.
-- unit_cost.py fills in what the unit is and what success is. $top: most units of each mode, the dearest, that get a row;
-- $unit_budget: what one may cost, or NULL.
WITH
window_calls AS {materialized} (
    SELECT
        {unit} AS unit,
        {success} AS success,
        agent_name,
        pricing_mode,
        role = 'embeddings' AS is_embedding,
        status_code = 'ERROR' AS failed,
        start_time,
        duration_ns,
        input_tokens,
        cache_read_tokens,
        output_tokens,
        cost_usd,
        CASE WHEN cost_usd IS NOT NULL THEN coalesce(cost_low_usd, cost_usd) END AS cost_low_usd,
        CASE WHEN cost_usd IS NOT NULL THEN coalesce(cost_high_usd, cost_usd) END AS cost_high_usd
    FROM calls
    {unit_calls}
    {success_calls}
    WHERE start_time >= $start AND start_time < $end
),

unit_figures AS MATERIALIZED (
    SELECT
        unit,
        pricing_mode,
        count(*) AS calls,
        count(*) FILTER (failed) AS failed_calls,
        sum(input_tokens) AS input_tokens,
        sum(cache_read_tokens) AS cache_read_tokens,
        sum(output_tokens) AS output_tokens,
        sum(cost_usd) AS cost_usd,
        sum(cost_usd) FILTER (NOT is_embedding) AS llm_cost_usd,
        sum(cost_usd) FILTER (is_embedding) AS embeddings_cost_usd,
        sum(cost_low_usd) AS cost_low_usd,
        sum(cost_high_usd) AS cost_high_usd,
        count(*) FILTER (cost_usd IS NULL AND pricing_mode <> 'local') AS calls_without_cost,
        count(*) - count(cost_usd) AS unpriced_calls,
        -- Input of calls that do not mention their cache counts as not cached: the share is a lower bound.
        sum(cache_read_tokens) FILTER (input_tokens IS NOT NULL) AS cache_read_of_input
    FROM window_calls
    GROUP BY unit, pricing_mode
),

-- Of millions of calls, adding up the units takes little; a second grouping would take as long as the first.
totals AS (
    SELECT NULL AS unit, pricing_mode, sum(COLUMNS(* EXCLUDE (unit, pricing_mode)))
    FROM unit_figures
    GROUP BY pricing_mode
),

-- Whether a unit succeeded, in whichever pricing mode: of those alone of which any call tells.
by_agent AS (
    SELECT unit, {succeeded} AS succeeded
    FROM window_calls
    WHERE unit IS NOT NULL AND {tells}
    GROUP BY unit, agent_name
),
outcomes AS (
    SELECT unit, {of_agents}(succeeded) AS succeeded
    FROM by_agent
    GROUP BY unit
),

judged AS MATERIALIZED (
    SELECT
        unit_figures.unit,
        pricing_mode,
        cost_usd,
        calls_without_cost,
        coalesce(outcomes.succeeded, {otherwise}) AS succeeded,
        -- NULL where a call may yet make the unit too dear.
        CASE
            WHEN cost_low_usd > $unit_budget THEN FALSE
            WHEN unpriced_calls = 0 AND cost_high_usd <= $unit_budget THEN TRUE
        END AS under_budget,
        row_number() OVER (PARTITION BY pricing_mode ORDER BY cost_usd DESC NULLS LAST, calls DESC, unit) AS place,
        count(cost_usd) OVER (PARTITION BY pricing_mode) AS units_with_cost
    FROM unit_figures
    LEFT JOIN outcomes USING (unit)
    WHERE unit_figures.unit IS NOT NULL
),

-- Money is interpolated elsewhere, in decimals: here are the two units between which a quantile stands. `place` counts
-- from the dearest, 1, to the cheapest.
per_mode AS (
    SELECT
        pricing_mode,
        TRUE AS is_total,
        count(*) AS units,
        count(*) FILTER (succeeded) AS successful_units,
        count(*) FILTER (calls_without_cost > 0) AS incomplete_units,
        any_value(units_with_cost) AS units_with_cost,
        sum(cost_usd) AS cost_of_units_usd,
        min(cost_usd) AS min_usd,
        max(cost_usd) AS max_usd,
        max(cost_usd) FILTER (units_with_cost - place = 50 * (units_with_cost - 1) // 100) AS median_below_usd,
        max(cost_usd) FILTER (units_with_cost - place = (50 * (units_with_cost - 1) + 99) // 100) AS median_above_usd,
        max(cost_usd) FILTER (units_with_cost - place = 95 * (units_with_cost - 1) // 100) AS p95_below_usd,
        max(cost_usd) FILTER (units_with_cost - place = (95 * (units_with_cost - 1) + 99) // 100) AS p95_above_usd,
        CASE
            WHEN bool_or(NOT under_budget) THEN FALSE
            WHEN count(under_budget) = count(*) THEN TRUE
        END AS all_under_budget
    FROM judged
    GROUP BY pricing_mode
),

-- The rest is looked up for what is shown alone.
shown AS MATERIALIZED (
    SELECT unit_figures.*, FALSE AS is_total, judged.succeeded, judged.under_budget, judged.place
    FROM unit_figures
    JOIN (FROM judged WHERE place <= $top) AS judged USING (unit, pricing_mode)
    UNION ALL
    SELECT *, FALSE, NULL, NULL, NULL FROM unit_figures WHERE unit IS NULL
    UNION ALL
    SELECT *, TRUE, NULL, NULL, NULL FROM totals
),
details AS (
    SELECT
        shown.unit,
        shown.pricing_mode,
        FALSE AS is_total,
        quantile_cont(duration_ns, 0.95) FILTER (NOT failed) / 1e6 AS latency_p95_ms,
        list_sort(list(DISTINCT agent_name) FILTER (agent_name IS NOT NULL)) AS agents
    FROM shown
    JOIN window_calls
      ON window_calls.pricing_mode = shown.pricing_mode
     AND window_calls.unit IS NOT DISTINCT FROM shown.unit
    WHERE NOT is_total
    GROUP BY ALL
    UNION ALL
    SELECT
        NULL,
        pricing_mode,
        TRUE,
        quantile_cont(duration_ns, 0.95) FILTER (NOT failed) / 1e6,
        list_sort(list(DISTINCT agent_name) FILTER (agent_name IS NOT NULL))
    FROM window_calls
    GROUP BY pricing_mode
)

SELECT
    shown.unit,
    shown.pricing_mode,
    shown.is_total,
    calls::BIGINT AS calls,
    failed_calls::BIGINT AS failed_calls,
    input_tokens,
    cache_read_tokens,
    output_tokens,
    cost_usd,
    llm_cost_usd,
    embeddings_cost_usd,
    cost_low_usd,
    cost_high_usd,
    calls_without_cost::BIGINT AS calls_without_cost,
    latency_p95_ms,
    cache_read_of_input / nullif(input_tokens, 0) AS cache_share,
    agents,
    succeeded,
    under_budget,
    per_mode.* EXCLUDE (pricing_mode, is_total)
FROM shown
JOIN details
  ON details.pricing_mode = shown.pricing_mode
 AND details.is_total = shown.is_total
 AND details.unit IS NOT DISTINCT FROM shown.unit
LEFT JOIN per_mode
  ON per_mode.pricing_mode = shown.pricing_mode
 AND per_mode.is_total = shown.is_total
ORDER BY shown.is_total, list_position({modes}, shown.pricing_mode), shown.unit IS NULL, place

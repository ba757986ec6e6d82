-- Candidates whose usage only repeats the sum of several calls below them. A call that several libraries report under
-- one response id counts once in the sum; spans are added up, and log records, which may tell of the same calls, apart,
-- each event for itself.
WITH
with_usage AS (
    SELECT node, event_name, response_id, input_tokens, output_tokens
    FROM call_candidates
    WHERE input_tokens IS NOT NULL OR output_tokens IS NOT NULL
),
nearest_outer AS (
    SELECT nesting.node, arg_min(nesting.ancestor, nesting.distance) AS outer_node
    FROM nesting
    JOIN with_usage AS outer_record ON outer_record.node = nesting.ancestor
    GROUP BY nesting.node
),
calls_below AS (
    SELECT
        outer_node, event_name,
        max(input_tokens) AS input_tokens,
        max(output_tokens) AS output_tokens
    FROM nearest_outer
    JOIN with_usage USING (node)
    GROUP BY outer_node, event_name, coalesce(response_id, 'node ' || node)
),
sums AS (
    SELECT outer_node AS node, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
    FROM calls_below
    GROUP BY outer_node, event_name
    HAVING count(*) >= 2
)
SELECT DISTINCT with_usage.node
FROM with_usage
JOIN sums USING (node)
WHERE coalesce(with_usage.input_tokens = sums.input_tokens, with_usage.input_tokens IS NULL)
  AND coalesce(with_usage.output_tokens = sums.output_tokens, with_usage.output_tokens IS NULL)

-- A call that asked what was asked before gives its cost (finding.CLAIMS): surely where the answer is as long.
SELECT candidate, call_id, CASE WHEN is_same THEN cost_usd ELSE 0 END AS low_usd, cost_usd AS high_usd, tokens
FROM repeated
WHERE cost_usd > 0 OR tokens > 0

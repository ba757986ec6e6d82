-- Accounts whose plan nobody declared, those with most calls first.
SELECT billing_account, count(*) AS calls
FROM calls
WHERE start_time >= $start AND start_time < $end AND pricing_mode = 'unknown'
GROUP BY billing_account
ORDER BY calls DESC, billing_account NULLS LAST

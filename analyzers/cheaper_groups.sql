-- Agents (services where no agent is known) and models of which something may be claimed, as far as single calls tell:
-- one row per way in which their calls name the model. `cheaper_steps` is of cheaper_calls.py; `having` is an analyzer's
-- own.
WITH
groups AS (
    SELECT
        agent,
        service,
        named.provider,
        model,
        cheaper,
        pricing_mode,
        sum(calls)::BIGINT AS calls,
        sum(cost_usd) AS cost_usd,
        row_number() OVER (ORDER BY agent, service, named.provider, model, cheaper, pricing_mode) AS number
    FROM cheaper_named AS named
    JOIN cheaper_steps AS steps
      ON steps.provider IS NOT DISTINCT FROM named.provider
     AND steps.response_model IS NOT DISTINCT FROM named.response_model
     AND steps.request_model IS NOT DISTINCT FROM named.request_model
    WHERE calls > 0
    GROUP BY agent, service, named.provider, model, cheaper, pricing_mode
    HAVING {having}
)
SELECT groups.*, steps.response_model, steps.request_model, steps.sent
FROM groups
JOIN cheaper_steps AS steps
  ON steps.provider IS NOT DISTINCT FROM groups.provider
 AND steps.model = groups.model
 AND steps.cheaper = groups.cheaper

-- Sessions beside those of the same agent that began before `$known`, a day counted from the start of the history. One
-- row per session that cost enough to be looked at, with how many of the agent's own robust deviations it is above them,
-- on a logarithmic scale; and one per pricing mode (`session_id` NULL) with how many sessions there are to compare with, how
-- many there were to look at and the largest deviations of the former, in falling order.
WITH sessions AS (
    SELECT
        session_id,
        pricing_mode,
        -- Of several the one that cost most.
        arg_max(agent, (agent_usd, agent)) AS agent,
        min(day) AS day,
        sum(agent_usd) AS cost_usd
    FROM (
        SELECT tenant, session_id, pricing_mode, agent, min(day) AS day, sum(cost_usd) AS agent_usd
        FROM anomaly_parts
        WHERE session_id IS NOT NULL
        GROUP BY tenant, session_id, pricing_mode, agent
    )
    GROUP BY tenant, session_id, pricing_mode
),

usual AS (
    SELECT
        agent,
        pricing_mode,
        count(*) AS sessions,
        median(ln(cost_usd::DOUBLE)) AS middle,
        greatest($least_scale, 1.4826 * mad(ln(cost_usd::DOUBLE))) AS scale
    FROM sessions
    WHERE day < $known
    GROUP BY agent, pricing_mode
    HAVING count(*) >= $least_sessions
),

scored AS (
    SELECT
        sessions.*,
        usual.sessions,
        usual.middle,
        (ln(sessions.cost_usd::DOUBLE) - usual.middle) / usual.scale AS score
    FROM sessions
    JOIN usual ON usual.pricing_mode = sessions.pricing_mode AND usual.agent IS NOT DISTINCT FROM sessions.agent
)

SELECT NULL AS session_id, pricing_mode, NULL AS agent, NULL AS day, NULL AS cost_usd, NULL AS middle, NULL AS score,
    count(*) FILTER (WHERE day < $known) AS history,
    count(*) FILTER (WHERE day >= $first) AS examined,
    max(score, $most_extreme) FILTER (WHERE day < $known) AS extremes
FROM scored
GROUP BY pricing_mode
UNION ALL
(
    SELECT session_id, pricing_mode, agent, day, cost_usd, middle, score, sessions, NULL, NULL
    FROM scored
    WHERE day >= $first AND cost_usd >= $least_usd AND cost_usd - exp(middle) >= $least_usd
    ORDER BY score DESC, session_id
    LIMIT $most
)
ORDER BY pricing_mode, session_id NULLS FIRST

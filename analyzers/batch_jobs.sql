-- Groups of calls that run like clockwork. A group is what an agent (a service where no agent is known) asks of a model in
-- the standard tier; a run is a stretch of its conversations (sessions, or traces where there are none) with no pause
-- longer than {pauses}, in microseconds: a group is regular by the shortest of these pauses by which it is. What happens
-- within a conversation is no run: an agent that works on something asks in even steps too. Periods are from the start of
-- one run to that of the next; of one that is a multiple, as jobs rest at night or at weekends, the last part counts.
WITH
timed AS (
    SELECT {job} AS job, {run} AS conversation, epoch_us({local_time}) AS began, duration_ns // 1000 AS took
    FROM calls
    WHERE start_time >= $start AND start_time < $end AND {may_wait}
),
conversations AS (
    SELECT job, min(began) AS began, max(began + coalesce(took, 0)) AS ended
    FROM timed
    GROUP BY job, conversation
),
idle AS (
    SELECT job, began, max(ended) OVER earlier AS idle_since
    FROM conversations
    WINDOW earlier AS (PARTITION BY job ORDER BY began ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
runs AS (
    SELECT
        job,
        pause,
        lead(began) OVER following - began AS period,
        lead(idle_since) OVER following - began AS took
    FROM idle
    CROSS JOIN (SELECT unnest({pauses}) AS pause)
    WHERE idle_since IS NULL OR began - idle_since > pause
    WINDOW following AS (PARTITION BY job, pause ORDER BY began)
),
usual AS (
    SELECT job, pause, median(period) AS usual_period, median(took) AS usual_time
    FROM runs
    WHERE period IS NOT NULL
    GROUP BY job, pause
    HAVING count(*) >= $least_runs - 1 AND usual_time <= usual_period * $most_busy::DOUBLE
),
periods AS (
    SELECT
        usual.*,
        greatest(1, round(runs.period / usual_period)) AS periods,
        runs.period - (periods - 1) * usual_period AS last_period
    FROM runs
    JOIN usual ON usual.job = runs.job AND usual.pause = runs.pause
    WHERE runs.period IS NOT NULL
)
SELECT
    job,
    pause,
    count(*) + 1 AS runs,
    (any_value(usual_period) / 1e6)::BIGINT AS period_seconds,
    stddev_samp(last_period) / avg(last_period) AS variation
FROM periods
GROUP BY job, pause
HAVING variation < $max_variation::DOUBLE
   AND quantile_cont(abs(last_period - usual_period), 0.9) <= $max_drift
   AND count(*) FILTER (periods = 1) >= 0.6 * count(*)
QUALIFY row_number() OVER (PARTITION BY job ORDER BY pause) = 1

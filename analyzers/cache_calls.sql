-- Each call of the flagged groups: why so little of it came from the cache, and what that cost. `rates`: cache_rates.sql.
--
-- A call could have read what the call before it had sent: the same session, agent, provider and model. `cause`:
--   untold          it does not mention its cache
--   served          half of that or more was read, or, at the start of a session, anything
--   rules_unknown   no rule for its provider and model
--   below_minimum   shorter than what the provider caches
--   first           nothing before it in its session
--   parallel        sent before the call before it had ended
--   pause           sent when what was cached may have been gone
--   not_asked_for   the call before it cached less than half of its input, where a request has to ask for it
--   changed         as long as the call before it or longer, within the time: its beginning is another
--   other           shorter than the call before it, in a batch, or after a call that says nothing of its cache
WITH
rates AS (
{rates}
),

-- No more columns than are looked at, as all of them are sorted; sessions by a number.
flagged_calls AS (
    SELECT
        flagged.number,
        call.call_id,
        hash(flagged.number, call.tenant, coalesce(call.session_id, call.trace_id, call.call_id)) AS session,
        call.start_time,
        call.start_time + to_microseconds((coalesce(call.duration_ns, 0) // 1000)::BIGINT) AS end_time,
        call.batch IS TRUE AS is_batch,
        call.input_tokens AS input,
        least(coalesce(call.cache_read_tokens, 0), call.input_tokens) AS read,
        coalesce(call.cache_write_tokens, 0) AS written,
        coalesce(call.cache_read_tokens, call.cache_write_tokens) IS NOT NULL AS tells,
        CASE
            WHEN call.cache_write_12h_tokens > 0 THEN 43200
            WHEN call.cache_write_1h_tokens > 0 THEN 3600
            WHEN call.cache_write_30m_tokens > 0 THEN 1800
        END AS asked_seconds,
        (coalesce(call.cost_input_usd, 0) + coalesce(call.cost_cache_write_usd, 0))::DOUBLE AS unread_cost_usd,
        call.cost_cache_write_usd::DOUBLE AS write_cost_usd,
        -- Nothing is said of a price where a call has no cost.
        CASE WHEN call.cost_usd IS NOT NULL THEN call.price_id END AS price_id
    FROM calls AS call
    JOIN flagged
      ON flagged.provider IS NOT DISTINCT FROM call.provider
     AND flagged.model IS NOT DISTINCT FROM coalesce(call.response_model, call.request_model)
     AND flagged.agent IS NOT DISTINCT FROM call.agent_name
     AND flagged.pricing_mode = call.pricing_mode
    WHERE call.start_time >= $start
      AND call.start_time < $end
      AND call.role = 'llm'
      AND call.input_tokens IS NOT NULL
),

in_order AS (
    SELECT
        *,
        lag({{
            'start_time': start_time,
            'end_time': end_time,
            'input': input,
            'read': read,
            'cached': read + written,
            'tells': tells
        }}) OVER session AS before,
        lead(start_time) OVER session AS after_start,
        max(asked_seconds) OVER (session ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS asked_before
    FROM flagged_calls
    WINDOW session AS (PARTITION BY session ORDER BY start_time, call_id)
),

neighbours AS (
    SELECT
        in_order.*,
        flagged.* EXCLUDE (number, provider, model, agent, pricing_mode),
        before.start_time AS before_start,
        before.end_time AS before_end,
        before.input AS before_input,
        before.read AS before_read,
        before.cached AS before_cached,
        before.tells AS before_tells,
        coalesce(asked_before, lives_seconds) AS kept_seconds,
        rates.input_usd,
        rates.read_usd,
        rates.write_usd,
        CASE WHEN flagged.on_request THEN rates.hour_usd ELSE rates.write_usd END AS longer_usd
    FROM in_order
    JOIN flagged USING (number)
    LEFT JOIN rates
      ON rates.price_id = in_order.price_id
     AND in_order.input > CASE WHEN tier_start = 0 THEN -1 ELSE tier_start END
     AND in_order.input <= tier_end
),

causes AS (
    SELECT
        *,
        greatest(least(before_input, input) - read, 0) AS could_read,
        epoch(start_time - before_start) AS pause_seconds,
        CASE
            WHEN NOT tells THEN 'untold'
            WHEN read > 0 AND (before_input IS NULL OR 2 * read >= least(before_input, input)) THEN 'served'
            WHEN min_tokens IS NULL THEN 'rules_unknown'
            WHEN input < min_tokens THEN 'below_minimum'
            WHEN before_input IS NULL THEN 'first'
            WHEN is_batch OR NOT before_tells THEN 'other'
            WHEN start_time < before_end THEN 'parallel'
            WHEN epoch(start_time - before_start) > kept_seconds THEN 'pause'
            WHEN input < before_input THEN 'other'
            WHEN on_request AND 2 * before_cached < before_input THEN 'not_asked_for'
            ELSE 'changed'
        END AS cause
    FROM neighbours
),

-- What was missed could have been read for less: what was paid for a token that was not read, less what reading costs.
weighed AS MATERIALIZED (
    SELECT
        *,
        CASE WHEN cause IN ('below_minimum', 'parallel', 'pause', 'not_asked_for', 'changed', 'other')
            THEN coalesce(could_read, 0) ELSE 0 END AS missed,
        greatest(unread_cost_usd / nullif(input - read, 0) - read_usd, 0) AS dearer_usd,
        cause = 'pause' AND kept_seconds < longer_seconds AND pause_seconds <= longer_seconds
        AND longer_usd IS NOT NULL AS can_wait,
        -- Nobody came to read it while it could be kept, for longer too.
        written > 0
        AND (after_start IS NULL OR epoch(after_start - start_time)
            > greatest(coalesce(asked_seconds, lives_seconds, 0), coalesce(longer_seconds, 0))) AS is_unread
    FROM causes
),

sessions_with_pauses AS (
    SELECT DISTINCT session
    FROM weighed
    WHERE can_wait
),

-- What else would have to be written, for all calls of a group: it is told to the calls that gain, by their tokens.
prices_of_change AS (
    SELECT
        number,
        sum(written - CASE WHEN can_wait THEN least(missed, written) ELSE 0 END) FILTER (tells) AS longer_writes,
        sum(written - CASE WHEN can_wait THEN least(missed, written) ELSE 0 END) 
            FILTER (tells AND session IN (FROM sessions_with_pauses)) AS longer_writes_there,
        sum(missed) FILTER (can_wait) AS paused_tokens,
        sum(greatest(input - read - written - CASE WHEN cause = 'not_asked_for' THEN missed ELSE 0 END, 0))
            FILTER (tells AND input >= min_tokens) AS new_writes,
        sum(missed) FILTER (cause = 'not_asked_for') AS unasked_tokens
    FROM weighed
    GROUP BY number
)

SELECT
    number,
    call_id,
    cause,
    is_unread,
    input,
    missed,
    (missed * dearer_usd)::DECIMAL(38, 12) AS lost_usd,
    (CASE
        WHEN cause = 'changed' THEN least(before_read, missed) * dearer_usd
        WHEN can_wait AND on_request
            THEN missed * (dearer_usd - (longer_usd - write_usd) * longer_writes / nullif(paused_tokens, 0))
        WHEN can_wait OR cause = 'not_asked_for' THEN 0
    END)::DECIMAL(38, 12) AS low_usd,
    (CASE
        WHEN cause = 'changed' THEN missed * dearer_usd
        WHEN can_wait
            THEN missed * (dearer_usd - (longer_usd - write_usd) * longer_writes_there / nullif(paused_tokens, 0))
        WHEN cause = 'not_asked_for'
            THEN missed * (dearer_usd - (write_usd - input_usd) * new_writes / nullif(unasked_tokens, 0))
    END)::DECIMAL(38, 12) AS high_usd,
    (CASE WHEN is_unread THEN write_cost_usd - written * input_usd END)::DECIMAL(38, 12) AS premium_usd,
    loss_share
FROM weighed
JOIN prices_of_change USING (number)

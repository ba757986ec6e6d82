-- What two records of one call have in common; used where calls are built and where their partners are searched for.

-- Who made up a response id, as far as it shows: a gateway (LiteLLM) gives an answer an id of its own, in the style of
-- another API than the one that was called.
CREATE OR REPLACE TEMP MACRO id_style(id) AS regexp_extract(id, '^(chatcmpl|cmpl|msg|resp|gen|req|run|lc_run)[-_]', 1);
-- Two ids of one style tell two calls apart; ids of two styles cannot be compared.
CREATE OR REPLACE TEMP MACRO ids_conflict(id_a, id_b) AS
    coalesce(id_a <> id_b AND id_style(id_a) = id_style(id_b), FALSE);

-- One record counts what the cache served and took, the other does not: frameworks hand on Anthropic's count, around a
-- span of its SDK that tells the whole.
CREATE OR REPLACE TEMP MACRO differ_by_cache(input_a, input_b, cached_a, cached_b) AS
    abs(input_a - input_b) > 0 AND abs(input_a - input_b) IN (cached_a, cached_b);

-- Spans meet when they overlap; a log record is written when its call has ended.
CREATE OR REPLACE TEMP MACRO calls_meet(signal_a, start_a, end_a, signal_b, start_b, end_b, log_slack_ns) AS
    CASE
        WHEN signal_a = 'span' AND signal_b = 'span' THEN start_a <= end_b AND start_b <= end_a
        ELSE abs(end_a - end_b) <= log_slack_ns
    END;

-- A call that failed and was not billed: of such records only their failure says that they are alike.
CREATE OR REPLACE TEMP MACRO failed_unbilled(input_tokens, output_tokens, status_code) AS
    coalesce(input_tokens, output_tokens) IS NULL AND status_code = 'ERROR';

-- A stream's end, told in a span of its own (its event_name says so), and the span of the call, which has no usage.
CREATE OR REPLACE TEMP MACRO may_be_of_stream(event_name, input_tokens, output_tokens, status_code) AS
    (event_name IS NOT NULL) = (coalesce(input_tokens, output_tokens) IS NOT NULL) AND status_code <> 'ERROR';
-- When the call answered and the stream began.
CREATE OR REPLACE TEMP MACRO stream_moment(end_ns, event_name, duration_ns) AS
    end_ns - CASE WHEN event_name IS NULL THEN 0 ELSE coalesce(duration_ns, 0) END;

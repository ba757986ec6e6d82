"""From stored spans and log records to `calls`: which columns the SQL needs, and which records belong together.

Records are touched and replaced by the trace. A log record without a trace id, which is normal, stands for a trace
of its own: `RECORD_TRACE` names it. Of log records only those matter that report a call: `REPORTS_CALL`.

How a store uses this, inside one transaction and after `Resolver.resolve_spans` and `resolve_log_records`:

1. The touched traces (tenant, trace_id): those of the new spans and of the new log records that report a call.
2. `call_records`: ``SELECT {span_record_select(dimensions)}`` over the new spans and ``SELECT
   {log_record_select(dimensions)}`` over the new log records that report a call, and the same over the stored ones of
   the touched traces. Every span of a touched trace, GenAI or not: parents and sessions stand anywhere.
3. Run ``partner_traces_sql("<stored records>", …)``. While it names traces: add them to the touched ones and their
   stored records to `call_records`, and run it again. It names none that are touched, so this ends.
4. ``Resolver.build_calls(call_records)``, then replace in ``calls`` every row whose (tenant, trace_id) is touched, or
   whose call_id is that of a log record in `call_records` (`CALL_ID`), with the rows it built.

The result depends on the set of records alone, never on the order or the batches in which they came.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from semconv.columns import CLAIMED
from semconv.sqltext import literal, quoted, sql_text

# Two records of different traces can only be one call when they start within this time of each other. It
# bounds the search for partners; a server that draws its ids from 999 numbers must not join all its traces.
PARTNER_HORIZON: Final = dt.timedelta(hours=1)
PARTNER_HORIZON_NS: Final = int(PARTNER_HORIZON.total_seconds()) * 1_000_000_000
# Rule (c): how far the inner record may stand from the outer one at each end.
NESTING_SLACK_NS: Final = 50_000_000
# By how much the inner record may end later: OpenTelemetry for JavaScript starts a trace at a whole millisecond and
# measures from there, so that two traces of one process disagree by up to one.
CLOCK_NS: Final = 1_000_000
# How far a log record may stand from the end of the call it reports.
LOG_SLACK_NS: Final = 5_000_000_000
# A log record without ids or a trace looks for its span within one period of the clock, so that a sender whose
# counts never change does not tie a whole day's calls together. At its border one in some 100,000 is not found.
LOG_PERIOD_NS: Final = 600_000_000_000
# With how many of the next records by start a record is compared among those of one id or of equal counts. A
# call has been seen in four records; a server that sends one id for ever must not cost the square of its calls.
NEIGHBOURS: Final = 8
# How many records of one period, sender and counts are compared with one another; no sender of log records makes that
# many calls, and more must not be read again at every commit.
MOST_ALIKE: Final = 5000
# The bounds as the SQL files name them.
BOUNDS: Final = {
    "horizon_ns": PARTNER_HORIZON_NS,
    "slack_ns": NESTING_SLACK_NS,
    "clock_ns": CLOCK_NS,
    "log_slack_ns": LOG_SLACK_NS,
    "log_period_ns": LOG_PERIOD_NS,
    "neighbours": NEIGHBOURS,
    "most_alike": MOST_ALIKE,
}

# Which rows of `log_records` report a call.
REPORTS_CALL: Final = (
    "(role IN ('llm', 'embeddings')"
    " AND (coalesce(input_tokens, output_tokens) IS NOT NULL OR error_type IS NOT NULL))"
)
# Over `log_records`: the trace that a record counts to. No span has a trace id with a blank.
RECORD_TRACE: Final = "coalesce(trace_id, 'log ' || record_hash)"
# Over `call_records`: the id of the call that this record alone would be.
CALL_ID: Final = (
    "md5(concat_ws(chr(31), tenant, signal, CASE WHEN signal = 'span' THEN trace_id END, span_id))"
)

_READ_FOR_RESOLUTION_ONLY: Final = {"total_tokens", "server_address", "stream"}
# The process that sent the record: service.instance.id where sent, else all that the resource says.
_RESOURCE: Final = (
    "CASE WHEN role IN ('llm', 'embeddings')"
    " THEN coalesce(resource_attributes ->> 'service.instance.id', resource_attributes::VARCHAR) END"
)


def _sent_duration_ns(key: str, unit_ns: int) -> str:
    """How long a call took, as an attribute tells in units of so many nanoseconds. At most an hour."""
    sent = f"try_cast(attributes ->> {literal(key)} AS DOUBLE)"
    longest = PARTNER_HORIZON_NS // unit_ns
    return f"CASE WHEN {sent} BETWEEN 0 AND {longest} THEN ({sent} * {unit_ns})::BIGINT END"


# Where a log record tells: Claude Code, Codex, Gemini CLI, Qwen Code.
_LOG_DURATION_NS: Final = _sent_duration_ns("duration_ms", 1_000_000)
_LOG_END_NS: Final = "coalesce(time_unix_nano, observed_time_unix_nano, epoch_us(time) * 1000)"

# Logfire tells the end of a stream, and with it the usage, in a span without length beside the call's own; and there,
# how many seconds the stream took.
_IS_STREAMS_END: Final = (
    "start_unix_nano = end_unix_nano AND role IN ('llm', 'embeddings')"
    " AND (attributes ->> 'logfire.span_type') = 'log'"
)
_SPAN_DURATION_NS: Final = (
    f"CASE WHEN {_IS_STREAMS_END} THEN {_sent_duration_ns('duration', 1_000_000_000)} ELSE duration_ns END"
)
STREAMS_END: Final = "stream"  # their event_name, which other spans have none of

# How many bytes of text an embedding was asked for, where its sender tells no tokens: the gate's lengths. Numbered
# places hold one text each; others repeat them all.
_GATED: Final = "try_cast(evidence -> 'gated' AS MAP(VARCHAR, BIGINT))"
_TEXT_BYTES: Final = (
    "CASE WHEN role = 'embeddings' AND input_tokens IS NULL AND evidence IS NOT NULL THEN greatest("
    f"list_max(map_values({_GATED})), list_sum(list_transform(list_filter(map_entries({_GATED}),"
    " lambda entry: regexp_matches(entry.key, '[.][0-9]+[.]')), lambda entry: entry.value))::BIGINT) END"
)

# Some senders say in an attribute or an event alone that a call failed (Langfuse, LangSmith's JavaScript, Mastra).
# One that has usage was answered, whatever went wrong beside it.
_SPAN_STATUS: Final = (
    "CASE WHEN error_type IS NOT NULL AND coalesce(input_tokens, output_tokens) IS NULL"
    " THEN 'ERROR' ELSE status_code END"
)

_COMMON: Final = {
    **{name: name for name in ("service_name", "deployment_environment", "scope_name", "dialect", "role")},
    **{name: name for name, _ in CLAIMED if name not in _READ_FOR_RESOLUTION_ONLY},
    **{name: name for name in ("token_semantics", "token_evidence", "notes")},
    "resource": _RESOURCE,
    "input_text_bytes": _TEXT_BYTES,
}
# Column of `call_records` -> expression over a row of `spans`, stored or just resolved.
_OF_SPANS: Final = {
    **{name: name for name in ("tenant", "trace_id", "span_id", "parent_span_id")},
    **{name: name for name in ("start_time", "start_unix_nano", "end_unix_nano")},
    "status_code": _SPAN_STATUS,
    "duration_ns": _SPAN_DURATION_NS,
    "signal": "'span'",
    "event_name": f"CASE WHEN {_IS_STREAMS_END} THEN {literal(STREAMS_END)} END",
    **_COMMON,
}
# The same over a row of `log_records`. `span_id` is the record's own identity, and the span in which it was written
# is its parent.
_OF_LOG_RECORDS: Final = {
    "tenant": "tenant",
    "trace_id": RECORD_TRACE,
    "span_id": "record_hash",
    "parent_span_id": "span_id",
    "start_time": f"time - to_microseconds(coalesce({_LOG_DURATION_NS}, 0) // 1000)",
    "start_unix_nano": f"{_LOG_END_NS} - coalesce({_LOG_DURATION_NS}, 0)",
    "end_unix_nano": _LOG_END_NS,
    "duration_ns": _LOG_DURATION_NS,
    "status_code": "CASE WHEN error_type IS NULL THEN 'UNSET' ELSE 'ERROR' END",
    "signal": "'log'",
    "event_name": "coalesce(event_name, '')",
    **_COMMON,
}
_NO_STREAMS: Final = {"event_name": "NULL::VARCHAR", "duration_ns": "duration_ns"}
CALL_RECORD_COLUMNS: Final = tuple(_OF_SPANS)
# What partners.sql reads of stored records.
PARTNER_COLUMNS: Final = (
    *("tenant", "trace_id", "parent_span_id", "signal", "event_name", "scope_name", "role", "resource"),
    *("session_id", "response_id", "input_tokens", "output_tokens", "reasoning_tokens", "status_code"),
    *("start_time", "start_unix_nano", "end_unix_nano", "duration_ns"),
)


def span_record_select(dimensions: Mapping[str, str], *, of_streams: bool = True) -> str:
    """The select list that makes `call_records` of `spans`; `dimensions`: column name -> attribute key. Without
    `of_streams`, which does for spans of which no candidate is without length, it parses no attributes.
    """
    return _select(_record_columns(dimensions, of_streams=of_streams))


def computed_of_spans(dimensions: Mapping[str, str], *, of_streams: bool) -> str:
    """Of that select list what is not a column of `spans` as it stands."""
    columns = _record_columns(dimensions, of_streams=of_streams)
    return _select({name: value for name, value in columns.items() if name != value})


def log_record_select(dimensions: Mapping[str, str]) -> str:
    """The same of those `log_records` of which REPORTS_CALL holds, in the same order."""
    ordered = {name: _OF_LOG_RECORDS[name] for name in CALL_RECORD_COLUMNS}
    return _select({**ordered, **_dimension_columns(dimensions)})


def partner_span_select(*, of_streams: bool = True) -> str:
    """The select list that makes of `spans` what partner_traces_sql reads; without `of_streams` the end of a stream is
    a span like others."""
    columns = {**_OF_SPANS, **({} if of_streams else _NO_STREAMS)}
    return _select({name: columns[name] for name in PARTNER_COLUMNS})


def partner_log_select() -> str:
    """The same of `log_records`."""
    return _select({name: _OF_LOG_RECORDS[name] for name in PARTNER_COLUMNS})


def partner_traces_sql(stored_records: str, *, with_logs: bool) -> str:
    """A SELECT of (tenant, trace_id): untouched traces in `stored_records` with a record that may be one call
    with one in `call_records`; needs that and `touched_traces` as relations.

    `stored_records` is a relation with PARTNER_COLUMNS, of spans and of log records that report a call. It may be
    cut to those that start within PARTNER_HORIZON of one in `call_records`, which the rule itself demands,
    so that files outside are never read. `with_logs`: whether there are log records in either, or roots that tell
    of streams.
    """
    return sql_text("partners.sql").format(
        stored_records=stored_records,
        columns=", ".join(PARTNER_COLUMNS),
        of_logs=sql_text("partners_of_logs.sql").format(**BOUNDS) if with_logs else "",
        union_of_logs="UNION FROM same_moment" if with_logs else "",
        **BOUNDS,
    )


def resource_dimension(name: str) -> str:
    """The column of `call_records` that holds a dimension's value on the resource."""
    return f"resource_{name}"


def _record_columns(dimensions: Mapping[str, str], *, of_streams: bool) -> dict[str, str]:
    return {**_OF_SPANS, **({} if of_streams else _NO_STREAMS), **_dimension_columns(dimensions)}


def _select(columns: Mapping[str, str]) -> str:
    return ", ".join(name if name == value else f"{value} AS {name}" for name, value in columns.items())


def _dimension_columns(dimensions: Mapping[str, str]) -> dict[str, str]:
    """Per dimension the record's own value and, of lower rank, its resource's."""
    columns: dict[str, str] = {}
    for name, key in dimensions.items():
        columns[quoted(name)] = f"attributes ->> {literal(key)}"
        columns[quoted(resource_dimension(name))] = f"resource_attributes ->> {literal(key)}"
    return columns

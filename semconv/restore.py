"""Stored rows → what extraction hands to resolution, read anew with today's dialect tables.

What is final (ids, times, names of scopes) stays as it is stored. What the tables say of a record (`dialect`, the
claimed columns, what the gate takes) is worked out again by extraction's own functions, over the stored attributes and
what `evidence` keeps of those that were taken (:mod:`semconv.stand_ins`). What is taken now joins what was taken
before; nothing that was taken comes back.

Two things can only be told from the request, which is gone:

- which records came in one scope message, where one GenAI record makes the gate strict for all. It did where it was
  known for one then; where it is only now, those of one sender and scope that were received at the same
  microsecond pass for one message;
- the account bound to the token: a stored account that is not the provider's name stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import pyarrow as pa

from semconv import columns
from semconv import notes as note
from semconv.claims import Claimed, claim_name, claim_record, drop_long
from semconv.context import Budget, Context, Row, Rows, table
from semconv.dialect_rules import NO_DIALECT
from semconv.dialects import Tables, tables
from semconv.extract_logs import Draft as LogDraft
from semconv.extract_logs import claim_log, log_row
from semconv.extract_metrics import Draft as PointDraft
from semconv.extract_metrics import point_row, read_series
from semconv.extract_spans import span_row
from semconv.gate import Gate
from semconv.notes import note_list
from semconv.otlp import (
    Attributes,
    Event,
    Exemplar,
    Link,
    LogRecord,
    Metric,
    Point,
    Resource,
    Scope,
    ScopeGroup,
    Span,
)
from semconv.request import Request
from semconv.sender import HASH_BYTES, Sender, Senders, names_genai
from semconv.settings import Settings
from semconv.stand_ins import completed, is_whole, joined_evidence

Stored = dict[str, Any]  # column → value, times in Unix microseconds
MakeRow = Callable[[Sender, Gate], Row]

# What is stored has been cut to size before.
_NO_LIMIT: Final = 1 << 40
_ERROR: Final = {"ERROR": 2, "OK": 1}
# What the records of one scope message have in common.
_MESSAGE: Final = (
    *("tenant", "received_at", "source", "resource_attributes", "scope_name", "scope_version"),
    *("scope_attributes", "schema_url"),
)
# What is worked out again, of every signal and of each.
_ANEW: Final = {
    *("service_name", "service_namespace", "service_version", "deployment_environment"),
    *("resource_attributes", "scope_attributes", "attributes", "evidence", "dialect", "token_type"),
    *(name for name, _ in columns.CLAIMED),
    *("resource_billing_account", "resource_plan_tier", "bound_billing_account", "notes"),
    *("status_message", "events", "links", "body", "exemplars", "metric_metadata"),
}
_CLAIM_NOTES: Final = {note.UNUSABLE_VALUE}


@dataclass(frozen=True, slots=True)
class Restored:
    """``records`` as extraction hands them over, in the order of what is stored; ``contents``: texts that are taken
    only now. ``left``: records of which too much was cut off to be read again; they are not among the others.
    """

    records: pa.Table
    contents: pa.Table
    left: int


@dataclass(frozen=True, slots=True)
class _Record:
    """A stored record, read as extraction reads one that has come in."""

    rank: int
    is_news: bool  # that it is GenAI, so that its message was gated less strictly than it would be now
    tables: Tables
    make_row: MakeRow


def restore_spans(stored: pa.Table, settings: Settings) -> Restored:
    """Rows of `spans`, all columns, read anew."""
    return _restore(stored, columns.SPANS, settings, _read_span)


def restore_log_records(stored: pa.Table, settings: Settings) -> Restored:
    """Rows of `log_records`."""
    return _restore(stored, columns.LOG_RECORDS, settings, _read_log_record)


def restore_metric_points(stored: pa.Table, settings: Settings) -> Restored:
    """Rows of `metric_points`."""
    return _restore(stored, columns.METRIC_POINTS, settings, _read_point)


def _restore(
    stored: pa.Table, schema: pa.Schema, settings: Settings, read: Callable[[Context, Stored], _Record]
) -> Restored:
    stored = _plain(stored)
    rows = stored.to_pylist()
    whole = [number for number, row in enumerate(rows) if is_whole(row)]
    kept, stored = [rows[number] for number in whole], stored.take(pa.array(whole, pa.int64()))
    contents = Rows()
    records: list[Any] = [None] * len(kept)
    for numbers in _messages(kept):
        message = [kept[number] for number in numbers]
        for number, row in zip(numbers, _read_message(message, settings, contents, read), strict=True):
            records[number] = _with_what_was(row, kept[number], schema)
    return Restored(
        _with_final_columns(table(records, schema), stored, kept),
        table(contents.contents, columns.CONTENTS),
        len(rows) - len(kept),
    )


def _plain(stored: pa.Table) -> pa.Table:
    """Times as integers, documents as text."""
    for place, item in enumerate(stored.schema):
        if pa.types.is_timestamp(item.type):
            stored = stored.set_column(
                place, item.name, stored.column(place).cast(columns.MICROSECONDS).cast(pa.int64())
            )
        elif isinstance(item.type, pa.BaseExtensionType):
            chunks = [chunk.storage for chunk in stored.column(place).chunks]
            stored = stored.set_column(place, item.name, pa.chunked_array(chunks, item.type.storage_type))
    return stored


def _messages(rows: list[Stored]) -> Iterator[list[int]]:
    """The numbers of the rows that pass for one scope message."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for number, row in enumerate(rows):
        found.setdefault(tuple(row[name] for name in _MESSAGE), []).append(number)
    yield from found.values()


def _read_message(
    rows: list[Stored], settings: Settings, into: Rows, read: Callable[[Context, Stored], _Record]
) -> Iterator[Row]:
    """What the extraction of such a message would give."""
    context, group = _context(rows[0], settings, into), _group(rows[0])
    by_scope = names_genai(context.tables, group.scope)
    records = [read(context, row) for row in rows]
    newly = by_scope or any(record.is_news for record in records)
    sender = Senders(context).read(group, len(rows), names_genai=by_scope)
    gates: dict[tuple[Tables, bool], Gate] = {}
    for record in records:
        kind = record.tables, newly or record.rank < NO_DIALECT
        if kind not in gates:
            gates[kind] = context.gate(own=kind[0], genai_scope=kind[1])
        yield record.make_row(sender, gates[kind])


def _context(row: Stored, settings: Settings, into: Rows) -> Context:
    """Nothing is cut and nothing redacted: that was done, and a hash must not be hashed again."""
    request = Request(
        "traces", "json", b"", row["received_at"] * 1000, row["tenant"], _bound_account(row), row["source"]
    )
    unlimited = replace(settings, max_value_bytes=_NO_LIMIT, max_attributes=_NO_LIMIT, redaction=None)
    budget = Budget(_NO_LIMIT, _NO_LIMIT)
    return Context(
        request, unlimited, tables(), into, _NO_LIMIT, redaction=None, budget=budget, may_be_genai=True
    )


def _group(row: Stored) -> ScopeGroup:
    scope = Scope(
        row["scope_name"] or "",
        row["scope_version"] or "",
        _loaded(row["scope_attributes"]),
        row["schema_url"] or "",
        [],
    )
    return ScopeGroup(Resource(_loaded(row["resource_attributes"]), "", []), scope, iter(()))


def _bound_account(row: Stored) -> str | None:
    """The account that goes before what was sent: the stored one, unless it only repeats the provider."""
    account: str | None = row["billing_account"]
    return account if account != row["provider"] else None


def _loaded(text: str | None) -> Any:
    return {} if text is None else orjson.loads(text)


# --- one record of each signal ---------------------------------------------------------------------


def _read_span(context: Context, row: Stored) -> _Record:
    attributes = _loaded(row["attributes"])
    span = Span(
        bytes.fromhex(row["trace_id"]),
        bytes.fromhex(row["span_id"]),
        row["parent_span_id"],
        row["name"],
        0,
        row["start_unix_nano"],
        row["end_unix_nano"],
        row["trace_state"] or "",
        row["flags"],
        _ERROR.get(row["status_code"], 0),
        row["status_message"] or "",
        attributes,
        [Event(**event) for event in orjson.loads(row["events"] or "[]")],
        [Link(**link) for link in orjson.loads(row["links"] or "[]")],
        row["dropped_attributes_count"] or 0,
        row["dropped_events_count"] or 0,
        row["dropped_links_count"] or 0,
        [],
    )
    own = context.tables.of(row["scope_name"] or "")
    whole = completed(attributes, row["evidence"], tuple(f"{event.name[:128]}/" for event in span.events))
    claimed = claim_record(whole, own.records, span.notes)
    claimed = _settled(claim_name(claimed, own.rules, span.name, whole), row, context, span.notes)
    return _record(claimed, own, row, lambda sender, gate: span_row(context, sender, gate, span, claimed))


def _read_log_record(context: Context, row: Stored) -> _Record:
    record = LogRecord(
        row["time_unix_nano"] or 0,
        row["observed_time_unix_nano"] or 0,
        row["trace_id"],
        row["span_id"],
        row["flags"],
        row["severity_number"],
        row["severity_text"] or "",
        row["event_name"] or "",
        None if row["body"] is None else orjson.loads(row["body"]),
        _loaded(row["attributes"]),
        row["dropped_attributes_count"] or 0,
        [],
    )
    own = context.tables.of(row["scope_name"] or "", record.event_name)
    whole = record._replace(attributes=completed(record.attributes, row["evidence"], ()))
    claimed = _settled(claim_log(context, own, whole, whole), row, context, record.notes)
    draft = LogDraft(record, record, claimed, own)
    return _record(
        claimed, own, row, lambda sender, gate: log_row(context, sender, gate, draft, row["record_hash"])
    )


def _read_point(context: Context, row: Stored) -> _Record:
    attributes: Attributes = _loaded(row["attributes"])
    exemplars = [Exemplar(**exemplar) for exemplar in orjson.loads(row["exemplars"] or "[]")]
    times = row["start_time_unix_nano"] or 0, row["time_unix_nano"]
    point = Point(attributes, *times, row["flags"], *(None,) * 7, exemplars, [])
    metric = Metric(
        row["metric_name"],
        row["description"] or "",
        row["unit"] or "",
        _loaded(row["metric_metadata"]),
        row["metric_type"],
        temporality=None,
        is_monotonic=None,
        points=[point],
        notes=[],
    )
    own = context.tables.of(row["scope_name"] or "")
    claimed = context.claim(own, attributes, attributes, point.notes)
    rank = min(context.tables.rules.metric_rank(metric.name), claimed.rank)
    claimed = _settled(claimed._replace(rank=rank), row, context, point.notes)
    draft = PointDraft(metric, point, point, claimed)

    def make_row(sender: Sender, gate: Gate) -> Row:
        series = read_series(context, gate, metric, hashlib.blake2b(digest_size=HASH_BYTES))
        return point_row(context, sender, gate, (series, draft), row["record_hash"])

    return _record(claimed, own, row, make_row)


def _record(claimed: Claimed, own: Tables, row: Stored, make_row: MakeRow) -> _Record:
    dialect = own.rules.dialects.get(claimed.rank)
    return _Record(claimed.rank, dialect is not None and row["dialect"] is None, own, make_row)


def _settled(claimed: Claimed, row: Stored, context: Context, notes: list[str]) -> Claimed:
    """What is too long leaves, as the gate's work on the whole record would have had it; a record from which
    redaction took attributes stays of the dialect that they told.
    """
    drop_long(claimed.values, notes)
    if note.REDACTED not in (row["notes"] or ()):
        return claimed
    ranks = {name: rank for rank, name in context.tables.rules.dialects.items()}
    return claimed._replace(rank=min(claimed.rank, ranks.get(row["dialect"], NO_DIALECT)))


# --- what stays ------------------------------------------------------------------------------------


def _with_what_was(row: Row, stored: Stored, schema: pa.Schema) -> Row:
    """The row with what extraction noted, and the gate took, when the record came in."""
    changed = [value for part in row for value in part]
    place = schema.names.index("notes")
    of_extraction = (note.EXTRACTION_NOTES - _CLAIM_NOTES).intersection(stored["notes"] or ())
    changed[place] = note_list(of_extraction, changed[place] or ())
    if "evidence" in schema.names:
        place = schema.names.index("evidence")
        changed[place] = joined_evidence(stored["evidence"], changed[place])
    return (changed,)


def _with_final_columns(records: pa.Table, stored: pa.Table, rows: list[Stored]) -> pa.Table:
    for place, item in enumerate(records.schema):
        if item.name not in _ANEW:
            records = records.set_column(place, item, stored.column(item.name).cast(item.type))
    accounts = pa.array([_bound_account(row) for row in rows], pa.string())
    place = records.schema.names.index("bound_billing_account")
    return records.set_column(place, records.schema.field(place), accounts)

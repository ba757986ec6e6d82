"""Log records → rows of :data:`semconv.columns.LOG_RECORDS`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from semconv import notes as note
from semconv.claims import Claimed, claim_name
from semconv.context import Context, Row, in_portions, is_kept, portions_of
from semconv.dialect_rules import NO_DIALECT, RECORD_COLUMNS
from semconv.dialects import Tables
from semconv.faults import log_record_fault
from semconv.gate import Gate, Taken
from semconv.otlp import LogRecord, ScopeGroup
from semconv.sender import Sender, Senders, names_genai
from semconv.values import json_text

_CLAIMED: Final = slice(RECORD_COLUMNS.index("token_type"))  # token_type: metrics only
# Where senders older than LogRecord.event_name (OTLP 1.5) put it, and those in Rust, whose event_name tells the line of
# the program: "event src/telemetry.rs:41".
_EVENT_NAME_KEY: Final = "event.name"


class Draft(NamedTuple):
    received: LogRecord
    record: LogRecord  # redacted
    claimed: Claimed
    tables: Tables  # that hold for it


def extract_logs(context: Context, senders: Senders, group: ScopeGroup) -> Iterator[None]:
    """Add the rows of one scope's records, some at a time; the rejected ones and those ``keep_logs`` leaves out
    are counted.
    """
    rows, keep = context.rows, context.settings.keep_logs
    by_scope = names_genai(context.tables, group.scope)
    weighed = ((draft, draft.claimed.rank, 1) for draft in _acceptable(context, group))
    for drafts, genai_scope in in_portions(context, by_scope, portions_of(weighed)):
        kept = [draft for draft in drafts if is_kept(keep, genai=by_scope or draft.claimed.rank < NO_DIALECT)]
        rows.count(log_records_not_kept=len(drafts) - len(kept))
        if kept:
            sender, identity = senders.read(group, len(kept), names_genai=by_scope), senders.identity(group)
            gates = {
                own: context.gate(own=own, genai_scope=genai_scope)
                for own in {draft.tables for draft in kept}
            }
            for draft in kept:
                record_hash = _record_hash(identity, draft.received)
                make_row = log_row if context.budget.own >= 0 else _short_row
                rows.log_records.append(make_row(context, sender, gates[draft.tables], draft, record_hash))
        yield


def _acceptable(context: Context, group: ScopeGroup) -> Iterator[Draft]:
    redaction = context.redaction
    read = rejected = 0
    record: LogRecord
    for record in group.records:
        read += 1
        if log_record_fault(record.time_unix_nano, record.observed_time_unix_nano) is None:
            redacted = record if redaction is None else redaction.log_record(record)
            own = context.tables.of(group.scope.name, event_name(record))
            yield Draft(record, redacted, claim_log(context, own, record, redacted), own)
        else:
            rejected += 1
    context.rows.count(log_records_read=read, log_records_rejected=rejected)


def claim_log(context: Context, own: Tables, received: LogRecord, redacted: LogRecord) -> Claimed:
    """The attributes' and the event name's claims; the name alone may make a record GenAI."""
    claimed = context.claim(own, received.attributes, redacted.attributes, redacted.notes)
    name = event_name(received)
    rank = min(own.rules.event_rank(name), claimed.rank)
    return claim_name(claimed._replace(rank=rank), own.rules, name, redacted.attributes)


def event_name(record: LogRecord) -> str:
    name = record.attributes.get(_EVENT_NAME_KEY)
    return name if isinstance(name, str) and name else record.event_name


def _record_hash(identity: Any, record: LogRecord) -> str:
    """128-bit identity: of the record as received, so that no setting changes it."""
    own = [
        record.time_unix_nano or record.observed_time_unix_nano,
        event_name(record),
        record.attributes,
        record.body,
    ]
    digest = identity.copy()
    digest.update(orjson.dumps(own))
    return str(digest.hexdigest())


def log_row(context: Context, sender: Sender, gate: Gate, draft: Draft, record_hash: str) -> Row:
    received, record, claimed, _ = draft
    notes = record.notes
    taken = Taken(notes)
    body = gate.body(event_name(received), record.body, taken)
    body_text = None if body is None else json_text(body)
    texts = [context.text(text, notes) for text in (record.severity_text, event_name(record))]
    attributes = gate.attributes_text(record.attributes, claimed, taken)
    context.budget.own -= len(attributes) + len(body_text or "")
    time_us = _time_us(context, record)
    context.add_contents(taken, record.trace_id, record.span_id, time_us)
    own = (
        context.request.tenant,
        record_hash,
        time_us,
        record.time_unix_nano or None,
        record.observed_time_unix_nano or None,
        record.trace_id,
        record.span_id,
        record.flags,
        record.severity_number,
        *texts,
        body_text,
    )
    read = (
        attributes,
        taken.evidence(),
        record.dropped_attributes_count + taken.dropped_attributes,
        context.tables.rules.dialects.get(claimed.rank),
    )
    return own, sender.columns, read, claimed.values[_CLAIMED], sender.end_of(notes)


def _short_row(context: Context, sender: Sender, gate: Gate, draft: Draft, record_hash: str) -> Row:
    """The row of a record in a request whose rows hold too much text already."""
    draft.record.notes.append(note.TEXT_DROPPED)
    short, bare = context.in_short(), draft._replace(record=draft.record._replace(body=None))
    return log_row(short, sender, short.gate(own=gate.own, genai_scope=gate.genai_scope), bare, record_hash)


def _time_us(context: Context, record: LogRecord) -> int:
    """When it happened, else when it was observed, else when it came in; Unix microseconds."""
    time = record.time_unix_nano or record.observed_time_unix_nano
    if time:
        return time // 1000
    record.notes.append(note.TIME_MISSING)
    return context.received_us

"""Log records → rows of :data:`semconv.columns.LOG_RECORDS`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import orjson

from semconv import notes as note
from semconv.claims import Claimed, claim_record
from semconv.context import Context, Row, Sender, is_kept, read_sender
from semconv.dialects import NO_DIALECT, RECORD_COLUMNS
from semconv.faults import log_record_fault
from semconv.gate import Gate, Taken
from semconv.notes import note_list
from semconv.otlp import LogRecord, ScopeGroup
from semconv.values import json_text

HASH_BYTES: Final = 16
_CLAIMED: Final = slice(RECORD_COLUMNS.index("token_type"))  # token_type: metrics only
# Where senders older than LogRecord.event_name (OTLP 1.5) put it.
_EVENT_NAME_KEY: Final = "event.name"


def extract_logs(context: Context, group: ScopeGroup) -> None:
    """Add the rows of one scope's records; the rejected ones and those ``keep_logs`` leaves out are
    counted.
    """
    rows, counts, keep = context.rows, context.rows.counts, context.settings.keep_logs
    drafts = list(_acceptable(context, group))
    sender = read_sender(context, group)
    genai_scope = sender.names_genai or any(claimed.rank < NO_DIALECT for _, claimed in drafts)
    gate = Gate(context.tables, context.settings, genai_scope=genai_scope)
    identity = group_identity(context, group)
    for record, claimed in drafts:
        if is_kept(keep, genai=sender.names_genai or claimed.rank < NO_DIALECT):
            record_hash = _record_hash(identity, record)
            rows.log_records.append(_row(context, sender, gate, (record, claimed), record_hash))
        else:
            counts["log_records_not_kept"] += 1


def _acceptable(context: Context, group: ScopeGroup) -> Iterator[tuple[LogRecord, Claimed]]:
    counts = context.rows.counts
    record: LogRecord
    for record in group.records:
        counts["log_records_read"] += 1
        if log_record_fault(record.time_unix_nano, record.observed_time_unix_nano) is None:
            yield record, _claim(context, record)
        else:
            counts["log_records_rejected"] += 1


def _claim(context: Context, record: LogRecord) -> Claimed:
    """The attributes' claims; the event's name alone may make a record GenAI."""
    claimed = claim_record(record.attributes, context.tables.records, record.notes)
    rank = context.tables.rules.event_rank(_event_name(record))
    return claimed._replace(rank=min(rank, claimed.rank))


def _event_name(record: LogRecord) -> str:
    name = record.event_name or record.attributes.get(_EVENT_NAME_KEY)
    return name if isinstance(name, str) else ""


def group_identity(context: Context, group: ScopeGroup) -> Any:
    """The hash over what all records of a group share: tenant, resource and scope, as received."""
    resource, scope = group.resource, group.scope
    shared = [context.request.tenant, resource.attributes, scope.name, scope.version, scope.attributes]
    return hashlib.blake2b(orjson.dumps(shared), digest_size=HASH_BYTES)


def _record_hash(identity: Any, record: LogRecord) -> str:
    """128-bit identity: of the record as received, so that no setting changes it."""
    own = [
        record.time_unix_nano or record.observed_time_unix_nano,
        _event_name(record),
        record.attributes,
        record.body,
    ]
    digest = identity.copy()
    digest.update(orjson.dumps(own))
    return str(digest.hexdigest())


def _row(
    context: Context, sender: Sender, gate: Gate, draft: tuple[LogRecord, Claimed], record_hash: str
) -> Row:
    record, claimed = draft
    notes = record.notes
    taken = Taken(notes)
    event_name = _event_name(record)
    attributes = gate.attributes_text(record.attributes, claimed, taken)
    body = gate.body(event_name, record.body, taken)
    time_us = _time_us(context, record)
    context.add_contents(taken, record.trace_id, record.span_id, time_us)
    texts = [context.text(text, notes) for text in (record.severity_text, event_name)]
    return (
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
        None if body is None else json_text(body),
        *sender.columns,
        attributes,
        taken.evidence(),
        record.dropped_attributes_count,
        context.tables.rules.dialects.get(claimed.rank),
        *claimed.values[_CLAIMED],
        *sender.billing,
        note_list(notes, sender.notes),
        *sender.origin,
    )


def _time_us(context: Context, record: LogRecord) -> int:
    """When it happened, else when it was observed, else when it came in; Unix microseconds."""
    time = record.time_unix_nano or record.observed_time_unix_nano
    if time:
        return time // 1000
    record.notes.append(note.TIME_MISSING)
    return context.received_us

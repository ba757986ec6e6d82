"""Spans → rows of :data:`semconv.columns.SPANS`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from semconv import notes as note
from semconv.claims import Claimed, claim_name, claim_record
from semconv.context import Context, Row, in_portions, is_kept, portions_of, stored_time
from semconv.dialect_rules import NO_DIALECT, RECORD_COLUMNS
from semconv.dialects import Tables
from semconv.faults import span_fault
from semconv.gate import NO_ITEMS, Gate, Taken
from semconv.otlp import Event, Link, Notes, ScopeGroup, Span
from semconv.sender import Sender, Senders, names_genai

# By number, as in trace.proto.
_KINDS: Final = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_STATUS_CODES: Final = {1: "OK", 2: "ERROR"}
_ERROR: Final = 2
_CLAIMED: Final = slice(RECORD_COLUMNS.index("token_type"))  # token_type: metrics only
# A clock this far ahead of ours is wrong: it is more than any mistaken time zone.
_SKEW_NS: Final = 24 * 3600 * 10**9


Draft = tuple[Span, Claimed]


def extract_spans(context: Context, senders: Senders, group: ScopeGroup) -> Iterator[None]:
    """Add the rows of one scope's spans, some at a time; the rejected ones and those that ``keep_spans`` leaves
    out are counted.
    """
    rows, keep = context.rows, context.settings.keep_spans
    by_scope, own = names_genai(context.tables, group.scope), context.tables.of(group.scope.name)
    for drafts, genai_scope in in_portions(context, by_scope, portions_of(_acceptable(context, group, own))):
        kept = drafts
        if keep != "all":
            kept = [draft for draft in drafts if is_kept(keep, genai=by_scope or draft[1].rank < NO_DIALECT)]
        rows.count(spans_not_kept=len(drafts) - len(kept))
        if kept:
            sender = senders.read(group, len(kept), names_genai=by_scope)
            gate = context.gate(own=own, genai_scope=genai_scope)
            for span, claimed in kept:
                make_row = span_row if context.budget.own >= 0 else _short_row
                rows.spans.append(make_row(context, sender, gate, span, claimed))
        yield


def _acceptable(context: Context, group: ScopeGroup, own: Tables) -> Iterator[tuple[Draft, int, int]]:
    """Spans with what they claim, its rank, and how much they weigh."""
    redaction, shapes, rules = context.redaction, own.records, own.rules
    named = bool(rules.names)
    read = rejected = 0
    received: Span
    for received in group.records:
        read += 1
        attributes, notes = received.attributes, received.notes
        if (
            span_fault(received.trace_id, received.span_id, received.start_unix_nano, received.end_unix_nano)
            is not None
        ):
            rejected += 1
            continue
        if redaction is None:
            span, claimed = received, claim_record(attributes, shapes, notes)
        else:
            span = redaction.span(received)
            claimed = context.claim(own, attributes, span.attributes, notes)
        if named:
            claimed = claim_name(claimed, rules, span.name, span.attributes)
        yield (span, claimed), claimed[1], 1 + len(span.events) + len(span.links)
    context.rows.count(spans_read=read, spans_rejected=rejected)


def span_row(context: Context, sender: Sender, gate: Gate, span: Span, claimed: Claimed) -> Row:
    trace_id, span_id, parent_id, name, kind, start, end, trace_state, flags, status_code = span[:10]
    message, attributes, events, links, lost_attributes, lost_events, lost_links, notes = span[10:]
    request, taken = context.request, Taken(notes)
    attributes_text = gate.attributes_text(attributes, claimed, taken)
    if message:
        message = gate.status_message(message, taken)
    events_text = _events_text(context, gate, span, claimed, taken) if events else NO_ITEMS
    links_text = _links_text(context, gate, links, taken) if links else NO_ITEMS
    context.budget.own -= len(attributes_text) + len(events_text) + len(links_text)
    trace_hex, span_hex, start_us = trace_id.hex(), span_id.hex(), start // 1000
    if taken.contents:
        context.add_contents(taken, trace_hex, span_hex, start_us)
    own = (
        request.tenant,
        trace_hex,
        span_hex,
        parent_id,
        name if len(name) <= context.short else context.text(name, notes),
        _KINDS.get(kind, "UNSPECIFIED"),
        start_us,
        start,
        end,
        _duration(start, end, request.received_at, notes),
        _STATUS_CODES.get(status_code, "UNSET"),
        context.text(message, notes) if message else None,
        context.text(trace_state, notes) if trace_state else None,
        flags,
    )
    read = (
        attributes_text,
        events_text,
        links_text,
        taken.evidence(),
        lost_attributes + taken.dropped_attributes,
        lost_events + (len(events) if events_text is NO_ITEMS else 0),
        lost_links + (len(links) if links_text is NO_ITEMS else 0),
        context.tables.rules.dialects.get(claimed[1]),
    )
    return own, sender.columns, read, claimed[0][_CLAIMED], sender.end_of(notes) if notes else sender.end


def _short_row(context: Context, sender: Sender, gate: Gate, span: Span, claimed: Claimed) -> Row:
    """The row of a span in a request whose rows hold too much text already."""
    span.notes.append(note.TEXT_DROPPED)
    _claim_from_events(context, span, claimed)
    bare = span._replace(
        events=[],
        links=[],
        dropped_events_count=span.dropped_events_count + len(span.events),
        dropped_links_count=span.dropped_links_count + len(span.links),
    )
    short = context.in_short()
    return span_row(short, sender, short.gate(own=gate.own, genai_scope=gate.genai_scope), bare, claimed)


def _duration(start: int, end: int, received_at: int, notes: Notes) -> int | None:
    """Nanoseconds, None where an end is missing or before its start; odd times are noted."""
    if start > received_at + _SKEW_NS:
        notes.append(note.START_IN_FUTURE)
    if 0 < start <= end:
        return end - start
    if start == 0:
        notes.append(note.START_MISSING)
    if end == 0:
        notes.append(note.END_MISSING)
    elif end < start:
        notes.append(note.END_BEFORE_START)
    return None


def _events_text(context: Context, gate: Gate, span: Span, claimed: Claimed, taken: Taken) -> str:
    _claim_from_events(context, span, claimed)
    return gate.list_text([_event(context, gate, event, taken) for event in span.events], taken)


def _claim_from_events(context: Context, span: Span, claimed: Claimed) -> None:
    """Fill columns of a failed span that no attribute filled, first event first. Some senders' events alone tell."""
    failed = span.status_code == _ERROR
    for rule in context.tables.rules.event_claims:
        if not (failed if rule.has is None else rule.has in span.attributes):
            continue
        for event in span.events:
            if event.name == rule.event and claimed.values[rule.slot] is None:
                value = event.attributes.get(rule.key)
                claimed.values[rule.slot] = _converted(rule.convert, value, span.notes) if value else None


def _converted(convert: Any, value: Any, notes: Notes) -> Any:
    try:
        return convert(value)
    except ValueError:
        notes.append(note.UNUSABLE_VALUE)
        return None


def _event(context: Context, gate: Gate, event: Event, taken: Taken) -> dict[str, Any]:
    attributes = gate.limited(event.attributes, taken.notes)
    dropped = len(event.attributes) - len(attributes)
    return {
        "time_unix_nano": stored_time(event.time_unix_nano, taken.notes),
        "name": context.text(event.name, taken.notes) or "",
        "attributes": gate.clean_event(event.name, attributes, taken),
        "dropped_attributes_count": event.dropped_attributes_count + dropped,
    }


def _links_text(context: Context, gate: Gate, links: list[Link], taken: Taken) -> str:
    return gate.list_text([_link(context, gate, link, taken) for link in links], taken)


def _link(context: Context, gate: Gate, link: Link, taken: Taken) -> dict[str, Any]:
    attributes = gate.limited(link.attributes, taken.notes)
    dropped = len(link.attributes) - len(attributes)
    return {
        **link._asdict(),
        "trace_state": context.text(link.trace_state, taken.notes) or "",
        "attributes": gate.clean(attributes, taken, "link/"),
        "dropped_attributes_count": link.dropped_attributes_count + dropped,
    }

"""Spans → rows of :data:`semconv.columns.SPANS`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from semconv import notes as note
from semconv.claims import Claimed, claim_name, claim_record
from semconv.context import Context, Reads, Row, in_portions, is_kept, stored_time
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
_READS: Final = Reads[Draft](
    rank=lambda draft: draft[1].rank,
    weight=lambda draft: 1 + len(draft[0].events) + len(draft[0].links),
)


def extract_spans(context: Context, senders: Senders, group: ScopeGroup) -> Iterator[None]:
    """Add the rows of one scope's spans, some at a time; the rejected ones and those that ``keep_spans`` leaves
    out are counted.
    """
    rows, keep = context.rows, context.settings.keep_spans
    by_scope, own = names_genai(context.tables, group.scope), context.tables.of(group.scope.name)
    for drafts, genai_scope in in_portions(context, by_scope, _acceptable(context, group, own), _READS):
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


def _acceptable(context: Context, group: ScopeGroup, own: Tables) -> Iterator[Draft]:
    redaction = context.redaction
    named = bool(own.rules.names)
    read = rejected = 0
    span: Span
    for span in group.records:
        read += 1
        if span_fault(span.trace_id, span.span_id, span.start_unix_nano, span.end_unix_nano) is None:
            if redaction is None:
                claimed = claim_record(span.attributes, own.records, span.notes)
                yield span, claim_name(claimed, own.rules, span.name, span.attributes) if named else claimed
            else:
                redacted = redaction.span(span)
                claimed = context.claim(own, span.attributes, redacted.attributes, span.notes)
                yield redacted, claim_name(claimed, own.rules, redacted.name, redacted.attributes)
        else:
            rejected += 1
    context.rows.count(spans_read=read, spans_rejected=rejected)


def span_row(context: Context, sender: Sender, gate: Gate, span: Span, claimed: Claimed) -> Row:
    notes = span.notes
    taken = Taken(notes)
    attributes = gate.attributes_text(span.attributes, claimed, taken)
    message = gate.status_message(span.status_message, taken) if span.status_message else ""
    events = _events_text(context, gate, span, claimed, taken) if span.events else NO_ITEMS
    links = _links_text(context, gate, span.links, taken) if span.links else NO_ITEMS
    context.budget.own -= len(attributes) + len(events) + len(links)
    trace_id, span_id = span.trace_id.hex(), span.span_id.hex()
    start_us = span.start_unix_nano // 1000
    if taken.contents:
        context.add_contents(taken, trace_id, span_id, start_us)
    duration = _duration(span, context.request.received_at)
    own = (
        context.request.tenant,
        trace_id,
        span_id,
        span.parent_span_id,
        context.text(span.name, notes) or "",
        _KINDS.get(span.kind, "UNSPECIFIED"),
        start_us,
        span.start_unix_nano,
        span.end_unix_nano,
        duration,
        _STATUS_CODES.get(span.status_code, "UNSET"),
        context.text(message, notes) if message else None,
        context.text(span.trace_state, notes) if span.trace_state else None,
        span.flags,
    )
    read = (
        attributes,
        events,
        links,
        taken.evidence(),
        span.dropped_attributes_count + taken.dropped_attributes,
        span.dropped_events_count + (len(span.events) if events is NO_ITEMS else 0),
        span.dropped_links_count + (len(span.links) if links is NO_ITEMS else 0),
        context.tables.rules.dialects.get(claimed.rank),
    )
    end = sender.end_of(notes) if notes else sender.end
    return own, sender.columns, read, claimed.values[_CLAIMED], end


def _short_row(context: Context, sender: Sender, gate: Gate, span: Span, claimed: Claimed) -> Row:
    """The row of a span in a request whose rows hold too much text already."""
    span.notes.append(note.TEXT_DROPPED)
    if span.status_code == _ERROR:
        _claim_from_events(context, span, claimed)
    bare = span._replace(
        events=[],
        links=[],
        dropped_events_count=span.dropped_events_count + len(span.events),
        dropped_links_count=span.dropped_links_count + len(span.links),
    )
    short = context.in_short()
    return span_row(short, sender, short.gate(own=gate.own, genai_scope=gate.genai_scope), bare, claimed)


def _duration(span: Span, received_at: int) -> int | None:
    """Nanoseconds, None where an end is missing or before its start; odd times are noted."""
    start, end, notes = span.start_unix_nano, span.end_unix_nano, span.notes
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
    if span.status_code == _ERROR:
        _claim_from_events(context, span, claimed)
    return gate.list_text([_event(context, gate, event, taken) for event in span.events], taken)


def _claim_from_events(context: Context, span: Span, claimed: Claimed) -> None:
    """Fill columns of a failed span that no attribute filled, first event first."""
    for rule in context.tables.rules.event_claims:
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

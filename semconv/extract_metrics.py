"""Data points → rows of :data:`semconv.columns.METRIC_POINTS`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from semconv import notes as note
from semconv.claims import Claimed
from semconv.context import Context, Row, exemplar_json, is_kept
from semconv.dialects import NO_DIALECT, RECORD_COLUMNS
from semconv.faults import point_fault
from semconv.gate import Gate, Taken
from semconv.notes import note_list
from semconv.otlp import Metric, Point, ScopeGroup
from semconv.sender import Sender, Senders, names_genai
from semconv.values import double_value, json_text, total_length

# By number, as in metrics.proto.
_TEMPORALITIES: Final = {None: None, 1: "delta", 2: "cumulative"}
# The claimed columns that a data point has, in the order of its schema.
_CLAIMED: Final = tuple(
    RECORD_COLUMNS.index(column)
    for column in (
        "operation",
        "provider",
        "request_model",
        "response_model",
        "token_type",
        "session_id",
        "user_id",
        "agent_name",
        "billing_account",
        "plan_tier",
    )
)


class Draft(NamedTuple):
    received: Point
    point: Point  # redacted
    claimed: Claimed


class Series(NamedTuple):
    """What the rows of one metric repeat."""

    names: Row  # metric_name, description, unit
    metadata: str
    notes: list[str]


_Own = tuple[Metric, Series, Draft]


def extract_metrics(context: Context, senders: Senders, group: ScopeGroup) -> None:
    """Add the rows of one scope's data points; the rejected ones and those not kept are counted."""
    rows, keep = context.rows, context.settings.keep_metrics
    drafts = [(metric, list(_acceptable(context, metric))) for metric in group.records]
    by_scope = names_genai(context.tables, group.scope)
    genai_scope = by_scope or any(draft.claimed.rank < NO_DIALECT for _, own in drafts for draft in own)
    kept = [
        (metric, [each for each in own if is_kept(keep, genai=by_scope or each.claimed.rank < NO_DIALECT)])
        for metric, own in drafts
    ]
    points = sum(len(own) for _, own in kept)
    rows.count(metric_points_not_kept=sum(len(own) for _, own in drafts) - points)
    if points:
        sender, identity = senders.read(group, points, names_genai=by_scope), senders.identity(group)
        gate = context.gate(genai_scope=genai_scope)
        for metric, own in kept:
            hashes = _point_hashes(identity, metric, own)
            series = _series(context, gate, metric, len(own))
            for draft, record_hash in zip(own, hashes, strict=True):
                make_row = _row if context.budget.own >= 0 else _short_row
                row = make_row(context, sender, gate, (metric, series, draft), record_hash)
                rows.metric_points.append(row)


def _acceptable(context: Context, metric: Metric) -> Iterator[Draft]:
    redaction, counts = context.redaction, context.rows.counts
    context.rows.count(metric_points_read=len(metric.points))
    rank = context.tables.rules.metric_rank(metric.name)
    for point in metric.points:
        if point_fault(point.time_unix_nano, point.start_time_unix_nano) is None:
            redacted = point if redaction is None else redaction.point(point)
            claimed = context.claim(point.attributes, redacted.attributes, point.notes)
            # The metric's name alone may make a point GenAI.
            yield Draft(point, redacted, claimed._replace(rank=min(rank, claimed.rank)))
        else:
            counts["metric_points_rejected"] += 1


def _point_hashes(identity: Any, metric: Metric, drafts: list[Draft]) -> Iterator[str]:
    """128-bit identities: of points as received, values included, for one series may repeat a time."""
    of_metric = identity.copy()
    of_metric.update(orjson.dumps([metric.name, metric.metric_type])[:-1])
    for point, _, _ in drafts:
        own = [
            point.start_time_unix_nano,
            point.time_unix_nano,
            point.attributes,
            point.value_int,
            *map(_exact, (point.value_double, point.sum, point.min, point.max)),
            point.point_count,
            point.buckets,
        ]
        digest = of_metric.copy()
        digest.update(b"," + orjson.dumps(own)[1:])
        yield str(digest.hexdigest())


def _exact(number: float | None) -> Any:
    return None if number is None else double_value(number)


def _series(context: Context, gate: Gate, metric: Metric, points: int) -> Series:
    """What a metric's rows repeat, cut short where so many points would repeat too much text."""
    series = _read_series(context, gate, metric)
    if context.budget.allows(total_length([*series.names, series.metadata]), points):
        return series
    short = context.in_short()
    return _read_series(short, short.gate(genai_scope=gate.genai_scope), metric)


def _read_series(context: Context, gate: Gate, metric: Metric) -> Series:
    taken = Taken([*metric.notes])
    attributes = context.redacted(metric.metadata, taken.notes)
    metadata = gate.clean_text(dict(attributes), taken, "metadata/")
    context.add_contents(taken, None, None, context.received_us)
    name, *others = (
        context.text(text, taken.notes) for text in (metric.name, metric.description, metric.unit)
    )
    return Series((name or "", *others), metadata, note_list(taken.notes) or [])


def _row(context: Context, sender: Sender, gate: Gate, own: _Own, record_hash: str) -> Row:
    metric, series, (_, point, claimed) = own
    notes = point.notes
    taken = Taken(notes)
    attributes = gate.attributes_text(point.attributes, claimed, taken)
    exemplars = gate.list_text([exemplar_json(exemplar, gate, taken) for exemplar in point.exemplars], taken)
    buckets = None if point.buckets is None else json_text(gate.cut(point.buckets, notes))
    context.budget.own -= len(attributes) + len(exemplars) + len(buckets or "")
    time_us = _time_us(context, point)
    context.add_contents(taken, None, None, time_us)
    return (
        context.request.tenant,
        record_hash,
        time_us,
        point.time_unix_nano,
        point.start_time_unix_nano or None,
        *series.names,
        metric.metric_type,
        _TEMPORALITIES.get(metric.temporality, "unspecified"),
        metric.is_monotonic,
        point.flags,
        point.value_int,
        point.value_double,
        point.point_count,
        point.sum,
        point.min,
        point.max,
        buckets,
        exemplars,
        *sender.columns,
        series.metadata,
        attributes,
        context.tables.rules.dialects.get(claimed.rank),
        *(claimed.values[slot] for slot in _CLAIMED),
        *sender.billing,
        note_list(notes, series.notes, sender.notes),
        *sender.origin,
    )


def _short_row(context: Context, sender: Sender, gate: Gate, own: _Own, record_hash: str) -> Row:
    """The row of a point in a request whose rows hold too much text already."""
    metric, series, draft = own
    draft.point.notes.append(note.TEXT_DROPPED)
    bare = draft._replace(point=draft.point._replace(exemplars=[]))
    short = context.in_short()
    return _row(short, sender, short.gate(genai_scope=gate.genai_scope), (metric, series, bare), record_hash)


def _time_us(context: Context, point: Point) -> int:
    if point.time_unix_nano:
        return point.time_unix_nano // 1000
    point.notes.append(note.TIME_MISSING)
    return context.received_us

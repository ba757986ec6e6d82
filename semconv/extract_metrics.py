"""Data points → rows of :data:`semconv.columns.METRIC_POINTS`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

import orjson

from semconv import notes as note
from semconv.claims import Claimed
from semconv.context import Context, Part, Row, exemplar_json, in_portions, is_kept, portions_of
from semconv.dialect_rules import NO_DIALECT, RECORD_COLUMNS
from semconv.dialects import Tables
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
    metric: Metric
    received: Point
    point: Point  # redacted
    claimed: Claimed


class Series(NamedTuple):
    """What the rows of one metric repeat."""

    identity: Any
    names: Part  # metric_name, description, unit
    metadata: str
    notes: list[str]


def extract_metrics(context: Context, senders: Senders, group: ScopeGroup) -> Iterator[None]:
    """Add the rows of one scope's data points, some at a time; the rejected ones and those not kept are
    counted.
    """
    rows, keep = context.rows, context.settings.keep_metrics
    by_scope, tables = names_genai(context.tables, group.scope), context.tables.of(group.scope.name)
    drafts = (draft for metric in group.records for draft in _acceptable(context, metric, tables))
    weighed = ((draft, draft.claimed.rank, 1 + len(draft.point.exemplars)) for draft in drafts)
    for portion, genai_scope in in_portions(context, by_scope, portions_of(weighed)):
        kept = [
            draft for draft in portion if is_kept(keep, genai=by_scope or draft.claimed.rank < NO_DIALECT)
        ]
        rows.count(metric_points_not_kept=len(portion) - len(kept))
        if kept:
            sender, identity = senders.read(group, len(kept), names_genai=by_scope), senders.identity(group)
            gate = context.gate(own=tables, genai_scope=genai_scope)
            for _, own in groupby(kept, lambda draft: id(draft.metric)):
                rows.metric_points.extend(_rows_of_metric(context, sender, gate, identity, list(own)))
        yield


def _acceptable(context: Context, metric: Metric, tables: Tables) -> Iterator[Draft]:
    redaction = context.redaction
    rank, rejected = context.tables.rules.metric_rank(metric.name), 0
    for point in metric.points:
        if point_fault(point.time_unix_nano, point.start_time_unix_nano) is None:
            redacted = point if redaction is None else redaction.point(point)
            claimed = context.claim(tables, point.attributes, redacted.attributes, point.notes)
            # The metric's name alone may make a point GenAI.
            yield Draft(metric, point, redacted, claimed._replace(rank=min(rank, claimed.rank)))
        else:
            rejected += 1
    context.rows.count(metric_points_read=len(metric.points), metric_points_rejected=rejected)


def _rows_of_metric(
    context: Context, sender: Sender, gate: Gate, identity: Any, drafts: list[Draft]
) -> Iterator[Row]:
    series = _series(context, gate, drafts[0].metric, identity, len(drafts))
    for draft in drafts:
        record_hash = _point_hash(series, draft.received)
        make_row = point_row if context.budget.own >= 0 else _short_row
        yield make_row(context, sender, gate, (series, draft), record_hash)


def _point_hash(series: Series, point: Point) -> str:
    """128-bit identity: of the point as received, values included, for one series may repeat a time."""
    own = [
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.attributes,
        point.value_int,
        *map(_exact, (point.value_double, point.sum, point.min, point.max)),
        point.point_count,
        point.buckets,
    ]
    digest = series.identity.copy()
    digest.update(b"," + orjson.dumps(own)[1:])
    return str(digest.hexdigest())


def _exact(number: float | None) -> Any:
    return None if number is None else double_value(number)


def _series(context: Context, gate: Gate, metric: Metric, identity: Any, points: int) -> Series:
    """What a metric's rows repeat, cut short where so many points would repeat too much text."""
    series = read_series(context, gate, metric, identity)
    if context.budget.allows(total_length([*series.names, series.metadata]), points):
        return series
    short = context.in_short()
    return read_series(short, short.gate(own=gate.own, genai_scope=gate.genai_scope), metric, identity)


def read_series(context: Context, gate: Gate, metric: Metric, identity: Any) -> Series:
    taken = Taken([*metric.notes])
    attributes = context.redacted(metric.metadata, taken.notes)
    metadata = gate.clean_text(dict(attributes), taken, "metadata/")
    context.add_contents(taken, None, None, context.received_us)
    name, *others = (
        context.text(text, taken.notes) for text in (metric.name, metric.description, metric.unit)
    )
    own_identity = identity.copy()
    own_identity.update(orjson.dumps([metric.name, metric.metric_type])[:-1])
    return Series(own_identity, (name or "", *others), metadata, note_list(taken.notes) or [])


def point_row(
    context: Context, sender: Sender, gate: Gate, own: tuple[Series, Draft], record_hash: str
) -> Row:
    series, (metric, _, point, claimed) = own
    notes = point.notes
    taken = Taken(notes)
    attributes = gate.attributes_text(point.attributes, claimed, taken)
    exemplars = gate.list_text([exemplar_json(exemplar, gate, taken) for exemplar in point.exemplars], taken)
    buckets = None if point.buckets is None else json_text(gate.cut(point.buckets, notes))
    context.budget.own -= len(attributes) + len(exemplars) + len(buckets or "")
    time_us = _time_us(context, point)
    context.add_contents(taken, None, None, time_us)
    own_columns = (
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
    )
    read = (
        series.metadata,
        attributes,
        context.tables.rules.dialects.get(claimed.rank),
        *(claimed.values[slot] for slot in _CLAIMED),
    )
    return own_columns, sender.columns, read, sender.end_of(notes, series.notes)


def _short_row(
    context: Context, sender: Sender, gate: Gate, own: tuple[Series, Draft], record_hash: str
) -> Row:
    """The row of a point in a request whose rows hold too much text already."""
    series, draft = own
    draft.point.notes.append(note.TEXT_DROPPED)
    bare = draft._replace(point=draft.point._replace(exemplars=[]))
    short = context.in_short()
    return point_row(
        short, sender, short.gate(own=gate.own, genai_scope=gate.genai_scope), (series, bare), record_hash
    )


def _time_us(context: Context, point: Point) -> int:
    if point.time_unix_nano:
        return point.time_unix_nano // 1000
    point.notes.append(note.TIME_MISSING)
    return context.received_us

"""Data points → rows of :data:`semconv.columns.METRIC_POINTS`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from semconv import notes as note
from semconv.claims import Claimed, claim_record
from semconv.context import Context, Row, Sender, exemplar_json, is_kept, read_sender
from semconv.dialects import NO_DIALECT, RECORD_COLUMNS
from semconv.extract_logs import group_identity
from semconv.faults import point_fault
from semconv.gate import Gate, Taken
from semconv.notes import note_list
from semconv.otlp import Metric, Point, ScopeGroup
from semconv.values import double_value, json_text

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

Draft = tuple[Metric, Point, Claimed]


def extract_metrics(context: Context, group: ScopeGroup) -> None:
    """Add the rows of one scope's data points; the rejected ones and those not kept are counted."""
    rows, counts, keep = context.rows, context.rows.counts, context.settings.keep_metrics
    drafts = list(_acceptable(context, group))
    sender = read_sender(context, group)
    genai_scope = sender.names_genai or any(claimed.rank < NO_DIALECT for _, _, claimed in drafts)
    gate = Gate(context.tables, context.settings, genai_scope=genai_scope)
    identity = group_identity(context, group)
    for draft in drafts:
        if is_kept(keep, genai=sender.names_genai or draft[2].rank < NO_DIALECT):
            record_hash = _point_hash(identity, draft[0], draft[1])
            rows.metric_points.append(_row(context, sender, gate, draft, record_hash))
        else:
            counts["metric_points_not_kept"] += 1


def _acceptable(context: Context, group: ScopeGroup) -> Iterator[Draft]:
    counts = context.rows.counts
    metric: Metric
    for metric in group.records:
        counts["metric_points_read"] += len(metric.points)
        for point in metric.points:
            if point_fault(point.time_unix_nano, point.start_time_unix_nano) is None:
                yield metric, point, _claim(context, metric, point)
            else:
                counts["metric_points_rejected"] += 1


def _claim(context: Context, metric: Metric, point: Point) -> Claimed:
    """The attributes' claims; the metric's name alone may make a point GenAI."""
    claimed = claim_record(point.attributes, context.tables.records, point.notes)
    rank = context.tables.rules.metric_rank(metric.name)
    return claimed._replace(rank=min(rank, claimed.rank))


def _point_hash(identity: Any, metric: Metric, point: Point) -> str:
    """128-bit identity: the point as received, values included, for one series may repeat a time."""
    own = [
        metric.name,
        metric.metric_type,
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.attributes,
        point.value_int,
        *map(_exact, (point.value_double, point.sum, point.min, point.max)),
        point.point_count,
        point.buckets,
    ]
    digest = identity.copy()
    digest.update(orjson.dumps(own))
    return str(digest.hexdigest())


def _exact(number: float | None) -> Any:
    return None if number is None else double_value(number)


def _row(context: Context, sender: Sender, gate: Gate, draft: Draft, record_hash: str) -> Row:
    metric, point, claimed = draft
    notes = point.notes
    taken = Taken(notes)
    attributes = gate.attributes_text(point.attributes, claimed, taken)
    exemplars = json_text([exemplar_json(exemplar, gate, taken) for exemplar in point.exemplars])
    metadata = json_text(gate.clean(dict(metric.metadata), taken, "metadata/"))
    time_us = _time_us(context, point)
    context.add_contents(taken, None, None, time_us)
    name, description, unit = (
        context.text(text, notes) for text in (metric.name, metric.description, metric.unit)
    )
    return (
        context.request.tenant,
        record_hash,
        time_us,
        point.time_unix_nano,
        point.start_time_unix_nano or None,
        name or "",
        description,
        unit,
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
        None if point.buckets is None else json_text(point.buckets),
        exemplars,
        *sender.columns,
        metadata,
        attributes,
        context.tables.rules.dialects.get(claimed.rank),
        *(claimed.values[slot] for slot in _CLAIMED),
        *sender.billing,
        note_list(notes, metric.notes, sender.notes),
        *sender.origin,
    )


def _time_us(context: Context, point: Point) -> int:
    if point.time_unix_nano:
        return point.time_unix_nano // 1000
    point.notes.append(note.TIME_MISSING)
    return context.received_us

"""OTLP/protobuf → :mod:`semconv.otlp`.

upb makes a Python object of every message that is touched, about 1.5 µs for each attribute, and attributes
are most of what a request holds. So requests are parsed here by the official descriptors with one change, the
lists of attributes declared as bytes (the same bytes on the wire), and each attribute is then read by
:class:`semconv.otlp_protobuf_values.Pairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby, repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from google.protobuf.internal import api_implementation
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from semconv import notes as note
from semconv.otlp import (
    INT64_MAX,
    DecodeError,
    Event,
    Exemplar,
    Link,
    LogRecord,
    Metric,
    Notes,
    Point,
    Resource,
    Scope,
    ScopeGroup,
    Span,
    TooDeep,
    optional_id,
)
from semconv.otlp_protobuf_values import Pairs, any_value, pair_map, remembered_pairs
from semconv.pieces import numbered_pieces
from semconv.settings import MOST_EVENTS
from semconv.values import double_value

# The other implementations are 10 to 50 times slower and differ in what they refuse.
if api_implementation.Type() != "upb":
    raise ImportError(f"protobuf runs on its {api_implementation.Type()!r} implementation; upb is required")

_KEY_VALUE: Final = ".opentelemetry.proto.common.v1.KeyValue"
_LISTS_AS_BYTES: Final = {"attributes", "filtered_attributes"}


def _with_raw_attributes() -> descriptor_pool.DescriptorPool:
    """The official descriptors with every list of attributes declared ``repeated bytes``."""
    pool = descriptor_pool.DescriptorPool()
    modules = (common_pb2, resource_pb2, trace_pb2, logs_pb2, metrics_pb2)
    services = (trace_service_pb2, logs_service_pb2, metrics_service_pb2)
    for module in (*modules, *services):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message_type in file.message_type:
            _declare_raw(message_type)
        pool.Add(file)
    return pool


def _declare_raw(message_type: descriptor_pb2.DescriptorProto) -> None:
    for field in message_type.field:
        if field.type_name == _KEY_VALUE and field.name in _LISTS_AS_BYTES:
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
    for nested in message_type.nested_type:
        _declare_raw(nested)


_POOL: Final = _with_raw_attributes()


def _raw_class(official: type[message.Message]) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(official.DESCRIPTOR.full_name))


_TRACES: Final = _raw_class(trace_service_pb2.ExportTraceServiceRequest)
_LOGS: Final = _raw_class(logs_service_pb2.ExportLogsServiceRequest)
_METRICS: Final = _raw_class(metrics_service_pb2.ExportMetricsServiceRequest)


# Part of what upb says beyond 100 levels of messages.
_TOO_DEEP: Final = "MaxDepth"


def parse(message_class: Any, body: bytes) -> Any:
    """The message of a body; DecodeError where the bytes are not one, TooDeep where upb gives up."""
    try:
        return message_class.FromString(body)
    except message.DecodeError as error:
        if _TOO_DEEP in str(error):
            raise TooDeep("values or groups are nested deeper than protobuf's parser reads") from error
        name = message_class.DESCRIPTOR.name
        raise DecodeError(f"the body is not a protobuf {name} ({len(body)} bytes): {error}") from error


def traces(body: bytes) -> Iterator[ScopeGroup]:
    """The spans of an ExportTraceServiceRequest, scope by scope."""
    return _scope_groups(_Fields("resource_spans", "scope_spans", "spans", _TRACES, _span), body)


def logs(body: bytes) -> Iterator[ScopeGroup]:
    """The records of an ExportLogsServiceRequest, scope by scope."""
    return _scope_groups(_Fields("resource_logs", "scope_logs", "log_records", _LOGS, _log_record), body)


def metrics(body: bytes) -> Iterator[ScopeGroup]:
    """The metrics of an ExportMetricsServiceRequest, scope by scope."""
    return _scope_groups(_Fields("resource_metrics", "scope_metrics", "metrics", _METRICS, _metric), body)


class _Fields(NamedTuple):
    """A signal's request: the names of its levels, its message class, and what reads an item."""

    resources: str
    scopes: str
    items: str
    message_class: Any
    read: Callable[[Any, Pairs], Any]


def _scope_groups(fields: _Fields, body: bytes) -> Iterator[ScopeGroup]:
    """A request's groups. One whose scope is in several pieces parses the others as its records are asked for."""
    pairs = remembered_pairs()
    for _, numbered in groupby(numbered_pieces(body), itemgetter(1)):
        run = (parse(fields.message_class, piece) for piece, _ in numbered)
        for resource_group in getattr(next(run), fields.resources):
            resource = _resource(resource_group, pairs)
            for scope_group in getattr(resource_group, fields.scopes):
                messages = chain([scope_group], _scopes_of(fields, run))
                items = chain.from_iterable(getattr(message, fields.items) for message in messages)
                records = map(fields.read, items, repeat(pairs))
                yield ScopeGroup(resource, _scope(scope_group, pairs), records)


def _scopes_of(fields: _Fields, requests: Iterator[Any]) -> Iterator[Any]:
    for request in requests:
        for resource_group in getattr(request, fields.resources):
            yield from getattr(resource_group, fields.scopes)


def _resource(group: Any, pairs: Pairs) -> Resource:
    notes: Notes = []
    return Resource(pairs.attributes(group.resource.attributes, notes), group.schema_url, notes)


def _scope(group: Any, pairs: Pairs) -> Scope:
    notes: Notes = []
    scope = group.scope
    attributes = pairs.attributes(scope.attributes, notes)
    return Scope(scope.name, scope.version, attributes, group.schema_url, notes)


def _span(span: Any, pairs: Pairs) -> Span:
    notes: Notes = []
    parent, status, events, links = span.parent_span_id, span.status, span.events, span.links
    own = (
        span.trace_id,
        span.span_id,
        optional_id(parent, 8, note.MALFORMED_PARENT_ID, notes) if parent else None,
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.trace_state,
        span.flags,
        status.code,
        status.message,
        pairs.attributes(span.attributes, notes),
        [_event(event, pairs, notes) for event in events[:MOST_EVENTS]] if events else [],
        [_link(link, pairs, notes) for link in links[:MOST_EVENTS]] if links else [],
        span.dropped_attributes_count,
        span.dropped_events_count + (_beyond(events, notes) if events else 0),
        span.dropped_links_count + (_beyond(links, notes) if links else 0),
        notes,
    )
    return tuple.__new__(Span, own)  # of so many fields its own constructor takes thrice the time


def _beyond(items: Sequence[Any], notes: Notes) -> int:
    """How many items there are beyond those that are read."""
    beyond = len(items) - MOST_EVENTS
    if beyond > 0:
        notes.append(note.EVENTS_DROPPED)
    return max(beyond, 0)


def _event(event: Any, pairs: Pairs, notes: Notes) -> Event:
    attributes = pairs.attributes(event.attributes, notes)
    return Event(event.time_unix_nano, event.name, attributes, event.dropped_attributes_count)


def _link(link: Any, pairs: Pairs, notes: Notes) -> Link:
    return Link(
        optional_id(link.trace_id, 16, note.MALFORMED_LINK_ID, notes),
        optional_id(link.span_id, 8, note.MALFORMED_LINK_ID, notes),
        link.trace_state,
        pairs.attributes(link.attributes, notes),
        link.dropped_attributes_count,
        link.flags,
    )


def _log_record(record: Any, pairs: Pairs) -> LogRecord:
    notes: Notes = []
    return LogRecord(
        record.time_unix_nano,
        record.observed_time_unix_nano,
        optional_id(record.trace_id, 16, note.MALFORMED_TRACE_ID, notes),
        optional_id(record.span_id, 8, note.MALFORMED_SPAN_ID, notes),
        record.flags,
        record.severity_number,
        record.severity_text,
        record.event_name,
        any_value(record.body, notes),
        pairs.attributes(record.attributes, notes),
        record.dropped_attributes_count,
        notes,
    )


def _metric(metric: Any, pairs: Pairs) -> Metric:
    notes: Notes = []
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind) if kind else None
    reader = _POINTS.get(kind)
    return Metric(
        metric.name,
        metric.description,
        metric.unit,
        pair_map(metric.metadata, notes),
        kind or "",
        getattr(data, "aggregation_temporality", None),
        getattr(data, "is_monotonic", None),
        [reader(point, pairs) for point in data.data_points] if data is not None and reader else [],
        notes,
    )


def _int64(number: int, notes: Notes) -> int | None:
    """A count that OTLP sends unsigned and the lake holds signed."""
    if number <= INT64_MAX:
        return number
    notes.append(note.INTEGER_OUT_OF_RANGE)
    return None


def _optional(point: Any, field: str) -> Any:
    return getattr(point, field) if point.HasField(field) else None


def _number_point(point: Any, pairs: Pairs) -> Point:
    notes: Notes = []
    return Point(
        pairs.attributes(point.attributes, notes),
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.flags,
        _optional(point, "as_int"),
        _optional(point, "as_double"),
        *(None, None, None, None, None),
        _exemplars(point, pairs, notes),
        notes,
    )


def _histogram_point(point: Any, pairs: Pairs) -> Point:
    buckets = {
        "bucket_counts": list(point.bucket_counts),
        "explicit_bounds": list(map(double_value, point.explicit_bounds)),
    }
    return _distribution_point(point, buckets, pairs)


def _exponential_point(point: Any, pairs: Pairs) -> Point:
    buckets = {
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": double_value(point.zero_threshold),
        "positive": _exponential_buckets(point.positive),
        "negative": _exponential_buckets(point.negative),
    }
    return _distribution_point(point, buckets, pairs)


def _exponential_buckets(buckets: Any) -> dict[str, Any]:
    return {"offset": buckets.offset, "bucket_counts": list(buckets.bucket_counts)}


def _distribution_point(point: Any, buckets: dict[str, Any], pairs: Pairs) -> Point:
    notes: Notes = []
    return Point(
        pairs.attributes(point.attributes, notes),
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.flags,
        None,
        None,
        _int64(point.count, notes),
        _optional(point, "sum"),
        _optional(point, "min"),
        _optional(point, "max"),
        buckets,
        _exemplars(point, pairs, notes),
        notes,
    )


def _summary_point(point: Any, pairs: Pairs) -> Point:
    notes: Notes = []
    quantiles = [
        {"quantile": double_value(value.quantile), "value": double_value(value.value)}
        for value in point.quantile_values
    ]
    return Point(
        pairs.attributes(point.attributes, notes),
        point.start_time_unix_nano,
        point.time_unix_nano,
        point.flags,
        None,
        None,
        _int64(point.count, notes),
        point.sum,
        None,
        None,
        {"quantile_values": quantiles},
        [],
        notes,
    )


_POINTS: Final[dict[str | None, Callable[[Any, Pairs], Point]]] = {
    "gauge": _number_point,
    "sum": _number_point,
    "histogram": _histogram_point,
    "exponential_histogram": _exponential_point,
    "summary": _summary_point,
}


def _exemplars(point: Any, pairs: Pairs, notes: Notes) -> list[Exemplar]:
    _beyond(point.exemplars, notes)
    return [_exemplar(exemplar, pairs, notes) for exemplar in point.exemplars[:MOST_EVENTS]]


def _exemplar(exemplar: Any, pairs: Pairs, notes: Notes) -> Exemplar:
    kind = exemplar.WhichOneof("value")
    value = getattr(exemplar, kind) if kind else None
    return Exemplar(
        exemplar.time_unix_nano,
        double_value(value) if isinstance(value, float) else value,
        optional_id(exemplar.trace_id, 16, note.MALFORMED_EXEMPLAR_ID, notes),
        optional_id(exemplar.span_id, 8, note.MALFORMED_EXEMPLAR_ID, notes),
        pairs.attributes(exemplar.filtered_attributes, notes),
    )

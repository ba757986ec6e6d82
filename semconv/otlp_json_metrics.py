"""The metrics part of OTLP/JSON; rules as in :mod:`semconv.otlp_json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from semconv import notes as note
from semconv.json_document import Object, objects
from semconv.otlp import Exemplar, Metric, Notes, Point, ScopeGroup, optional_id
from semconv.otlp_json import (
    attributes,
    double,
    enum,
    first_objects,
    identifier,
    inner_object,
    inner_objects,
    integer,
    scope_groups,
    text,
    time,
    whole,
)
from semconv.values import double_value, in_int64

_UINT64_MAX: Final = (1 << 64) - 1


class _Kind(NamedTuple):
    """One of the five kinds of a metric: its name in the lake and the reader of its points."""

    name: str
    read: Callable[[Object], Point]


def metrics(body: bytes) -> Iterator[ScopeGroup]:
    """The metrics of an ExportMetricsServiceRequest, scope by scope."""
    return scope_groups(body, "Metrics", "metrics", _metric)


def data_points(metric: Object) -> Iterator[Object]:
    """The data points of a metric of whatever kind; DecodeError if they are no array of objects."""
    key, data = _data_of(metric)
    for _, point in objects((key,), data, "dataPoints"):
        yield point


def _data_of(metric: Object) -> tuple[str, Object]:
    """(kind's JSON key, its object) of a metric; ("", {}) where it has no data of a known kind."""
    for key, data in metric.items():
        if key in _KINDS and type(data) is dict:
            return key, data
    return "", {}


def _metric(metric: Object) -> Metric:
    notes: Notes = []
    key, data = _data_of(metric)
    kind = _KINDS.get(key)
    points = data_points(metric)
    return Metric(
        text(metric, "name", notes),
        text(metric, "description", notes),
        text(metric, "unit", notes),
        attributes(metric, notes, "metadata"),
        kind.name if kind else "",
        enum(data, "aggregationTemporality", notes) if key in _WITH_TEMPORALITY else None,
        data.get("isMonotonic") is True if key == "sum" else None,
        [kind.read(point) for point in points] if kind else [],
        notes,
    )


def _number_point(point: Object) -> Point:
    notes: Notes = []
    as_int, as_double = point.get("asInt"), point.get("asDouble")
    return Point(
        attributes(point, notes),
        time(point, "startTimeUnixNano"),
        time(point, "timeUnixNano"),
        integer(point, "flags", notes),
        _int64(as_int, notes),
        double(as_double, notes) if as_int is None else None,
        *(None, None, None, None, None),
        _exemplars(point, notes),
        notes,
    )


def _int64(value: Any, notes: Notes) -> int | None:
    if value is None:
        return None
    number = whole(value)
    if number is not None and in_int64(number):
        return number
    notes.append(note.MALFORMED_FIELD if number is None else note.INTEGER_OUT_OF_RANGE)
    return None


def _count(point: Object, notes: Notes) -> int | None:
    """A count, 0 where absent as in protobuf, None where BIGINT cannot hold it."""
    count = point.get("count")
    return 0 if count is None else _int64(count, notes)


def _double_or_zero(value: Any, notes: Notes) -> float:
    """0 where absent as in protobuf; what is sent as -0.0 stays that."""
    number = double(value, notes)
    return 0.0 if number is None else number


def _histogram_point(point: Object) -> Point:
    notes: Notes = []
    buckets = {"bucket_counts": _counts(point, notes), "explicit_bounds": _bounds(point, notes)}
    return _distribution_point(point, buckets, notes)


def _exponential_point(point: Object) -> Point:
    notes: Notes = []
    buckets = {
        "scale": _int64(point.get("scale"), notes) or 0,
        "zero_count": integer(point, "zeroCount", notes, most=_UINT64_MAX),
        "zero_threshold": double_value(_double_or_zero(point.get("zeroThreshold"), notes)),
        "positive": _exponential_buckets(inner_object(point, "positive", notes), notes),
        "negative": _exponential_buckets(inner_object(point, "negative", notes), notes),
    }
    return _distribution_point(point, buckets, notes)


def _exponential_buckets(buckets: Object, notes: Notes) -> dict[str, Any]:
    return {"offset": _int64(buckets.get("offset"), notes) or 0, "bucket_counts": _counts(buckets, notes)}


def _counts(parent: Object, notes: Notes) -> list[int]:
    counts = parent.get("bucketCounts")
    values = counts if isinstance(counts, list) else []
    return [integer({"count": value}, "count", notes, most=_UINT64_MAX) for value in values]


def _bounds(point: Object, notes: Notes) -> list[Any]:
    bounds = point.get("explicitBounds")
    values = bounds if isinstance(bounds, list) else []
    return [double_value(_double_or_zero(value, notes)) for value in values]


def _distribution_point(point: Object, buckets: dict[str, Any], notes: Notes) -> Point:
    return Point(
        attributes(point, notes),
        time(point, "startTimeUnixNano"),
        time(point, "timeUnixNano"),
        integer(point, "flags", notes),
        None,
        None,
        _count(point, notes),
        double(point.get("sum"), notes),
        double(point.get("min"), notes),
        double(point.get("max"), notes),
        buckets,
        _exemplars(point, notes),
        notes,
    )


def _summary_point(point: Object) -> Point:
    notes: Notes = []
    quantiles = [
        {name: double_value(_double_or_zero(value.get(name), notes)) for name in ("quantile", "value")}
        for value in inner_objects(point, "quantileValues", notes)
    ]
    return Point(
        attributes(point, notes),
        time(point, "startTimeUnixNano"),
        time(point, "timeUnixNano"),
        integer(point, "flags", notes),
        None,
        None,
        _count(point, notes),
        _double_or_zero(point.get("sum"), notes),
        None,
        None,
        {"quantile_values": quantiles},
        [],
        notes,
    )


_KINDS: Final = {
    "gauge": _Kind("gauge", _number_point),
    "sum": _Kind("sum", _number_point),
    "histogram": _Kind("histogram", _histogram_point),
    "exponentialHistogram": _Kind("exponential_histogram", _exponential_point),
    "summary": _Kind("summary", _summary_point),
}
_WITH_TEMPORALITY: Final = {"sum", "histogram", "exponentialHistogram"}


def _exemplars(point: Object, notes: Notes) -> list[Exemplar]:
    exemplars, _ = first_objects(point, "exemplars", notes)
    return [_exemplar(exemplar, notes) for exemplar in exemplars]


def _exemplar(exemplar: Object, notes: Notes) -> Exemplar:
    as_int, as_double = exemplar.get("asInt"), double(exemplar.get("asDouble"), notes)
    floating = None if as_double is None else double_value(as_double)
    return Exemplar(
        time(exemplar, "timeUnixNano"),
        floating if as_int is None else _int64(as_int, notes),
        optional_id(identifier(exemplar, "traceId"), 16, note.MALFORMED_EXEMPLAR_ID, notes),
        optional_id(identifier(exemplar, "spanId"), 8, note.MALFORMED_EXEMPLAR_ID, notes),
        attributes(exemplar, notes, "filteredAttributes"),
    )

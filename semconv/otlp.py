"""OTLP as plain Python: what both decoders produce and all of extraction reads.

Attribute values are native and can be dumped to JSON as they are: str, bool, int (64 bits), finite float,
list, dict, None; bytes stand as ``{"$bytes": base64}`` and non-finite doubles as ``{"$double": "NaN"}``.
Values may be shared between records, so nobody changes one in place; the attribute dictionaries themselves
belong to their record. Times are Unix nanoseconds, 0 = not sent. Ids that must be valid are bytes, optional
ones lower-case hex.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

Value = Any
Attributes = dict[str, Any]
Notes = list[str]

# What a decoder reports for an id that is not hex and for a time that is no unsigned 64-bit integer.
NOT_HEX: Final = b"not hex"
NOT_A_TIME: Final = 1 << 64

UNSET_SPAN_ID: Final = bytes(8)
UNSET_TRACE_ID: Final = bytes(16)

INT64_MAX: Final = (1 << 63) - 1
INT64_MIN: Final = -(1 << 63)


class DecodeError(ValueError):
    """A body that cannot be read at all. The message is one sentence: what, where, what was expected."""


class TooDeep(DecodeError):  # noqa: N818 - the name says what is the case
    """A body with a value in more lists and maps than the limits allow."""


class Resource(NamedTuple):
    attributes: Attributes
    schema_url: str
    notes: Notes


class Scope(NamedTuple):
    name: str
    version: str
    attributes: Attributes
    schema_url: str
    notes: Notes


class Event(NamedTuple):
    time_unix_nano: int
    name: str
    attributes: Attributes
    dropped_attributes_count: int


class Link(NamedTuple):
    trace_id: str | None
    span_id: str | None
    trace_state: str
    attributes: Attributes
    dropped_attributes_count: int
    flags: int


class Span(NamedTuple):
    trace_id: bytes
    span_id: bytes
    parent_span_id: str | None
    name: str
    kind: int
    start_unix_nano: int
    end_unix_nano: int
    trace_state: str
    flags: int
    status_code: int
    status_message: str
    attributes: Attributes
    events: list[Event]
    links: list[Link]
    dropped_attributes_count: int
    dropped_events_count: int
    dropped_links_count: int
    notes: Notes


class LogRecord(NamedTuple):
    time_unix_nano: int
    observed_time_unix_nano: int
    trace_id: str | None
    span_id: str | None
    flags: int
    severity_number: int
    severity_text: str
    event_name: str
    body: Value
    attributes: Attributes
    dropped_attributes_count: int
    notes: Notes


class Exemplar(NamedTuple):
    time_unix_nano: int
    value: int | float | dict[str, str] | None
    trace_id: str | None
    span_id: str | None
    filtered_attributes: Attributes


class Point(NamedTuple):
    """One data point of any of the five metric types; what a type does not have is None."""

    attributes: Attributes
    start_time_unix_nano: int
    time_unix_nano: int
    flags: int
    value_int: int | None
    value_double: float | None
    point_count: int | None  # not "count", which tuples have
    sum: float | None
    min: float | None
    max: float | None
    buckets: dict[str, Any] | None
    exemplars: list[Exemplar]
    notes: Notes


class Metric(NamedTuple):
    name: str
    description: str
    unit: str
    metadata: Attributes
    metric_type: str  # gauge, sum, histogram, exponential_histogram, summary; "" = none was sent
    temporality: int | None
    is_monotonic: bool | None
    points: list[Point]
    notes: Notes


class ScopeGroup(NamedTuple):
    """The records that one ScopeSpans, ScopeLogs or ScopeMetrics message holds.

    They are read as they are iterated, once.
    """

    resource: Resource
    scope: Scope
    records: Iterator[Any]


def optional_id(raw: bytes, size: int, malformed: str, notes: Notes) -> str | None:
    """Hex of an id that may be absent. Empty and all zero are absent; anything else malformed is noted."""
    if len(raw) == size:
        return raw.hex() if raw.count(0) != size else None
    if raw:
        notes.append(malformed)
    return None

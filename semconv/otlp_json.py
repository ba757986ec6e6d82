"""OTLP/JSON → :mod:`semconv.otlp`, by OTLP's own rules (not those of ``json_format``).

Ids are hex in either case; 64-bit integers come as strings or numbers, exponents and ``5.0`` included; enums
are integers; keys are lowerCamelCase and all others unknown, thus ignored; ``null`` is absent. The envelope
must have its shape, or the body is refused with the place; inside a record what has the wrong type is read as
absent, with a note.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status as StatusMessage

from semconv import notes as note
from semconv.json_document import Document, Object, Rounded, envelope
from semconv.json_exact import Number
from semconv.otlp import (
    NOT_A_TIME,
    NOT_HEX,
    Attributes,
    Event,
    Link,
    LogRecord,
    Notes,
    Resource,
    Scope,
    ScopeGroup,
    Span,
    Value,
    optional_id,
)
from semconv.settings import MOST_EVENTS
from semconv.values import bytes_value, double_value, in_int64, parse_double, parse_integer

# upb refuses AnyValues nested deeper than this; the same bound keeps Python's recursion in hand here.
MAX_VALUE_DEPTH: Final = 50
# bytesValue may be spelt with either alphabet of base64, padded or not (JSON mapping of proto3).
_URL_SAFE: Final = str.maketrans("-_", "+/")
_UINT32_MAX: Final = (1 << 32) - 1
_INT32_MAX: Final = (1 << 31) - 1
_INFINITIES: Final = ("Infinity", "-Infinity")

# Lenient: the specification wants integers, some senders write the names.
_ENUM_NAMES: Final[dict[str, int]] = dict(
    pair
    for enum_type in (
        SpanMessage.SpanKind,
        StatusMessage.StatusCode,
        SeverityNumber,
        AggregationTemporality,
    )
    for pair in enum_type.items()
)


# --- fields: what has the wrong type is absent, with a note ---------------------------------------


def text(parent: Object, key: str, notes: Notes) -> str:
    """A string, "" where absent."""
    value = parent.get(key)
    if isinstance(value, str):
        return value
    if value is not None:
        notes.append(note.MALFORMED_FIELD)
    return ""


def whole(value: Any) -> int | None:
    """The integer that a value spells, None if it spells none. Raises Rounded where it may be another one."""
    if type(value) is int:
        return value
    if isinstance(value, Number):
        return value.integer
    if isinstance(value, float) and value.is_integer():
        raise Rounded
    return parse_integer(value)


def double(value: Any, notes: Notes, malformed: str = note.MALFORMED_FIELD) -> float | None:
    """The double that a value spells, None where it is absent, spells none, or one that no double can hold."""
    number = parse_double(value)
    if number is None:
        if value is not None:
            notes.append(malformed)
        return None
    if math.isinf(number) and type(value) is not float and value not in _INFINITIES:
        notes.append(note.DOUBLE_OUT_OF_RANGE)
        return None
    return number


def integer(parent: Object, key: str, notes: Notes, most: int = _UINT32_MAX, least: int = 0) -> int:
    """An integer of ``least`` to ``most``, 0 where absent. Flags and counts of what was dropped have 32 bits."""
    value = parent.get(key)
    if value is None:
        return 0
    number = whole(value)
    if number is None:
        notes.append(note.MALFORMED_FIELD)
        return 0
    if least <= number <= most:
        return number
    notes.append(note.INTEGER_OUT_OF_RANGE)
    return 0


def enum(parent: Object, key: str, notes: Notes) -> int:
    """An enum's number, 0 where absent; as in protobuf it may be any of 32 bits, known or not."""
    value = parent.get(key)
    if isinstance(value, str) and value in _ENUM_NAMES:
        return _ENUM_NAMES[value]
    return integer(parent, key, notes, most=_INT32_MAX, least=~_INT32_MAX)


def time(parent: Object, key: str) -> int:
    """Unix nanoseconds, 0 where absent, NOT_A_TIME where it is no unsigned integer."""
    value = parent.get(key)
    if value is None:
        return 0
    number = whole(value)
    return NOT_A_TIME if number is None or number < 0 else number


def identifier(parent: Object, key: str) -> bytes:
    """The bytes of a hex id, b"" where absent, NOT_HEX where it is something else."""
    value = parent.get(key)
    if value is None:
        return b""
    try:
        raw = bytes.fromhex(value)
    except (TypeError, ValueError):
        return NOT_HEX
    return raw if len(raw) * 2 == len(value) else NOT_HEX  # blanks are read over


def inner_objects(parent: Object, key: str, notes: Notes) -> list[Object]:
    """The objects of an array within a record."""
    values = parent.get(key)
    if values is None:
        return []
    if type(values) is not list:
        notes.append(note.MALFORMED_FIELD)
        return []
    found = [value for value in values if type(value) is dict]
    if len(found) != len(values):
        notes.append(note.MALFORMED_FIELD)
    return found


def first_objects(parent: Object, key: str, notes: Notes) -> tuple[list[Object], int]:
    """As ``inner_objects``, of events and the like: those that are read, and how many there are beyond them."""
    found = inner_objects(parent, key, notes)
    beyond = max(len(found) - MOST_EVENTS, 0)
    if beyond:
        notes.append(note.EVENTS_DROPPED)
    return found[:MOST_EVENTS], beyond


def inner_object(parent: Object, key: str, notes: Notes) -> Object:
    """An object within a record, empty where absent."""
    value = parent.get(key)
    if type(value) is dict:
        return value
    if value is not None:
        notes.append(note.MALFORMED_FIELD)
    return {}


# --- values ---------------------------------------------------------------------------------------


def attributes(parent: Object, notes: Notes, key: str = "attributes", depth: int = 0) -> Attributes:
    """A list of KeyValue objects, the last of equal keys winning; a missing key is the empty one."""
    pairs = inner_objects(parent, key, notes)
    values: Attributes = {}
    for pair in pairs:
        name, value = pair.get("key"), pair.get("value")
        if type(name) is not str:
            name = text(pair, "key", notes)
        # Most values are texts, and this loop is where most of the time goes.
        plain = value.get("stringValue") if type(value) is dict and len(value) == 1 else None
        values[name] = plain if type(plain) is str else any_value(value, notes, depth)
    if len(values) != len(pairs):
        notes.append(note.DUPLICATE_ATTRIBUTE)
    return values


def any_value(value: Any, notes: Notes, depth: int = 0) -> Value:
    """An AnyValue object as a native value; an empty one, or one that is none, is None."""
    if type(value) is dict:
        for kind, content in value.items():
            reader = _READERS.get(kind)
            if reader is not None and content is not None:
                return reader(content, notes, depth)
    elif value is not None:
        notes.append(note.MALFORMED_VALUE)
    return None


def _plain(kind: type) -> Callable[[Any, Notes, int], Value]:
    def read(content: Any, notes: Notes, _depth: int) -> Value:
        return content if type(content) is kind else _malformed(notes)

    return read


def _malformed(notes: Notes) -> None:
    notes.append(note.MALFORMED_VALUE)


def _integer(content: Any, notes: Notes, _depth: int) -> Value:
    number = whole(content)
    if number is None:
        return _malformed(notes)
    if in_int64(number):
        return number
    notes.append(note.INTEGER_OUT_OF_RANGE)
    return None


def _double(content: Any, notes: Notes, _depth: int) -> Value:
    number = double(content, notes, note.MALFORMED_VALUE)
    return None if number is None else double_value(number)


def _bytes(content: Any, notes: Notes, _depth: int) -> Value:
    if type(content) is not str:
        return _malformed(notes)
    text = content.translate(_URL_SAFE)
    try:
        return bytes_value(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except ValueError:
        return _malformed(notes)


def _array(content: Any, notes: Notes, depth: int) -> Value:
    values = content.get("values") if type(content) is dict else None
    if type(content) is not dict or not isinstance(values, list | None) or depth > MAX_VALUE_DEPTH:
        return _malformed(notes)
    return [any_value(value, notes, depth + 1) for value in values or ()]


def _map(content: Any, notes: Notes, depth: int) -> Value:
    if type(content) is not dict or depth > MAX_VALUE_DEPTH:
        return _malformed(notes)
    return attributes(content, notes, "values", depth + 1)


_READERS: Final[dict[str, Callable[[Any, Notes, int], Value]]] = {
    "stringValue": _plain(str),
    "boolValue": _plain(bool),
    "intValue": _integer,
    "doubleValue": _double,
    "arrayValue": _array,
    "kvlistValue": _map,
    "bytesValue": _bytes,
}


# --- spans and log records (metrics: otlp_json_metrics) -------------------------------------------


def traces(body: bytes) -> Iterator[ScopeGroup]:
    """The spans of an ExportTraceServiceRequest, scope by scope."""
    return scope_groups(body, "Spans", "spans", _span)


def logs(body: bytes) -> Iterator[ScopeGroup]:
    """The records of an ExportLogsServiceRequest, scope by scope."""
    return scope_groups(body, "Logs", "logRecords", _log_record)


def scope_groups(body: bytes, signal: str, item: str, read: Callable[[Object], Any]) -> Iterator[ScopeGroup]:
    """A request's records, each read by ``read``, scope by scope."""
    document = Document(body)
    last: tuple[Object, Resource] | None = None
    for resource_group, scope_group, records in envelope(document, signal, item):
        if last is None or last[0] is not resource_group[1]:  # scopes share their resource
            last = resource_group[1], document.read(_resource, resource_group)
        scope = document.read(_scope, scope_group)
        yield ScopeGroup(last[1], scope, (document.read(read, record) for record in records))


def _resource(group: Object) -> Resource:
    notes: Notes = []
    resource = inner_object(group, "resource", notes)
    return Resource(attributes(resource, notes), text(group, "schemaUrl", notes), notes)


def _scope(group: Object) -> Scope:
    notes: Notes = []
    scope = inner_object(group, "scope", notes)
    name, version = text(scope, "name", notes), text(scope, "version", notes)
    return Scope(name, version, attributes(scope, notes), text(group, "schemaUrl", notes), notes)


def _span(span: Object) -> Span:
    notes: Notes = []
    status = inner_object(span, "status", notes)
    events, more_events = first_objects(span, "events", notes)
    links, more_links = first_objects(span, "links", notes)
    own = (
        identifier(span, "traceId"),
        identifier(span, "spanId"),
        optional_id(identifier(span, "parentSpanId"), 8, note.MALFORMED_PARENT_ID, notes),
        text(span, "name", notes),
        enum(span, "kind", notes),
        time(span, "startTimeUnixNano"),
        time(span, "endTimeUnixNano"),
        text(span, "traceState", notes),
        integer(span, "flags", notes),
        enum(status, "code", notes),
        text(status, "message", notes),
        attributes(span, notes),
        [_event(event, notes) for event in events],
        [_link(link, notes) for link in links],
        integer(span, "droppedAttributesCount", notes),
        integer(span, "droppedEventsCount", notes) + more_events,
        integer(span, "droppedLinksCount", notes) + more_links,
        notes,
    )
    return tuple.__new__(Span, own)  # of so many fields its own constructor takes thrice the time


def _event(event: Object, notes: Notes) -> Event:
    return Event(
        time(event, "timeUnixNano"),
        text(event, "name", notes),
        attributes(event, notes),
        integer(event, "droppedAttributesCount", notes),
    )


def _link(link: Object, notes: Notes) -> Link:
    return Link(
        optional_id(identifier(link, "traceId"), 16, note.MALFORMED_LINK_ID, notes),
        optional_id(identifier(link, "spanId"), 8, note.MALFORMED_LINK_ID, notes),
        text(link, "traceState", notes),
        attributes(link, notes),
        integer(link, "droppedAttributesCount", notes),
        integer(link, "flags", notes),
    )


def _log_record(record: Object) -> LogRecord:
    notes: Notes = []
    return LogRecord(
        time(record, "timeUnixNano"),
        time(record, "observedTimeUnixNano"),
        optional_id(identifier(record, "traceId"), 16, note.MALFORMED_TRACE_ID, notes),
        optional_id(identifier(record, "spanId"), 8, note.MALFORMED_SPAN_ID, notes),
        integer(record, "flags", notes),
        enum(record, "severityNumber", notes),
        text(record, "severityText", notes),
        text(record, "eventName", notes),
        any_value(record.get("body"), notes),
        attributes(record, notes),
        integer(record, "droppedAttributesCount", notes),
        notes,
    )

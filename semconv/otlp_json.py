"""OTLP/JSON → :mod:`semconv.otlp`, by OTLP's own rules (not those of ``json_format``).

Ids are hex in either case; 64-bit integers come as strings or numbers, exponents and ``5.0`` included; enums
are integers; keys are lowerCamelCase and all others unknown, thus ignored; ``null`` is absent. The envelope
must have its shape, or the body is refused with the place; inside a record what has the wrong type is read as
absent, with a note.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson

from semconv import notes as note
from semconv.otlp import (
    INT64_MAX,
    NOT_A_TIME,
    NOT_HEX,
    Attributes,
    DecodeError,
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
from semconv.values import bytes_value, double_value, in_int64, parse_double, parse_integer

Object = dict[str, Any]

# upb refuses AnyValues nested deeper than this; the same bound keeps Python's recursion in hand here.
MAX_VALUE_DEPTH: Final = 50
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_JSON_TYPES: Final = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}

# Lenient: the specification wants integers, some senders write the names.
_ENUM_NAMES: Final = {
    "SPAN_KIND_UNSPECIFIED": 0,
    "SPAN_KIND_INTERNAL": 1,
    "SPAN_KIND_SERVER": 2,
    "SPAN_KIND_CLIENT": 3,
    "SPAN_KIND_PRODUCER": 4,
    "SPAN_KIND_CONSUMER": 5,
    "STATUS_CODE_UNSET": 0,
    "STATUS_CODE_OK": 1,
    "STATUS_CODE_ERROR": 2,
    "AGGREGATION_TEMPORALITY_UNSPECIFIED": 0,
    "AGGREGATION_TEMPORALITY_DELTA": 1,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": 2,
}


def parse(body: bytes) -> Object:
    """The JSON object of a body; an empty body is an empty request. DecodeError names line and column."""
    if not body:
        return {}
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"the body is not JSON that can be read exactly: {error}") from error
    if not isinstance(request, dict):
        raise DecodeError(f"the body is {_type_name(request)}; expected one JSON object")
    return request


def _type_name(value: Any) -> str:
    return _JSON_TYPES.get(type(value), "null" if value is None else "a number")


# --- the envelope: must have its shape ------------------------------------------------------------


def objects(parent: Object, key: str, place: str) -> Iterator[tuple[str, Object]]:
    """The objects of an array that may be absent, each with its place; DecodeError for anything else."""
    values = parent.get(key)
    if values is None:
        return
    if type(values) is not list:
        raise DecodeError(f"{place}{key} is {_type_name(values)}; expected an array")
    for number, value in enumerate(values):
        if type(value) is not dict:
            raise DecodeError(f"{place}{key}[{number}] is {_type_name(value)}; expected an object")
        yield f"{place}{key}[{number}].", value


def member(parent: Object, key: str, place: str) -> Object:
    """An object that may be absent (then empty); DecodeError for anything else."""
    value = parent.get(key)
    if value is None:
        return {}
    if type(value) is not dict:
        raise DecodeError(f"{place}{key} is {_type_name(value)}; expected an object")
    return value


def envelope(
    body: bytes, signal: str, item: str
) -> Iterator[tuple[Object, Object, list[tuple[str, Object]]]]:
    """(resource group, scope group, [(place, record), …]) of a request: ``signal`` Spans, ``item`` spans,
    …
    """
    for at, resource_group in objects(parse(body), f"resource{signal}", ""):
        member(resource_group, "resource", at)
        for within, scope_group in objects(resource_group, f"scope{signal}", at):
            member(scope_group, "scope", within)
            yield resource_group, scope_group, list(objects(scope_group, item, within))


# --- fields: what has the wrong type is absent, with a note ---------------------------------------


def text(parent: Object, key: str, notes: Notes) -> str:
    """A string, "" where absent."""
    value = parent.get(key)
    if isinstance(value, str):
        return value
    if value is not None:
        notes.append(note.MALFORMED_FIELD)
    return ""


def integer(parent: Object, key: str, notes: Notes, most: int = INT64_MAX) -> int:
    """An integer of 0 to ``most``, 0 where absent."""
    value = parent.get(key)
    if value is None:
        return 0
    number = parse_integer(value)
    if number is None:
        notes.append(note.MALFORMED_FIELD)
        return 0
    if 0 <= number <= most:
        return number
    notes.append(note.INTEGER_OUT_OF_RANGE)
    return 0


def enum(parent: Object, key: str, notes: Notes) -> int:
    """An enum's number, 0 where absent."""
    value = parent.get(key)
    if isinstance(value, str) and value in _ENUM_NAMES:
        return _ENUM_NAMES[value]
    return integer(parent, key, notes, most=0x7FFFFFFF)


def time(parent: Object, key: str) -> int:
    """Unix nanoseconds, 0 where absent, NOT_A_TIME where it is no unsigned integer."""
    value = parent.get(key)
    if value is None:
        return 0
    number = parse_integer(value)
    return NOT_A_TIME if number is None or number < 0 else number


def identifier(parent: Object, key: str) -> bytes:
    """The bytes of a hex id, b"" where absent, NOT_HEX where it is something else."""
    value = parent.get(key)
    if value is None:
        return b""
    if isinstance(value, str) and _HEX.fullmatch(value):
        return bytes.fromhex(value)
    return NOT_HEX


def inner_objects(parent: Object, key: str, notes: Notes) -> Iterator[Object]:
    """The objects of an array within a record."""
    values = parent.get(key)
    if values is None:
        return
    if type(values) is not list:
        notes.append(note.MALFORMED_FIELD)
        return
    for value in values:
        if type(value) is dict:
            yield value
        else:
            notes.append(note.MALFORMED_FIELD)


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
    pairs = list(inner_objects(parent, key, notes))
    values = {text(pair, "key", notes): any_value(pair.get("value"), notes, depth) for pair in pairs}
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
    number = parse_integer(content)
    if number is None:
        return _malformed(notes)
    if in_int64(number):
        return number
    notes.append(note.INTEGER_OUT_OF_RANGE)
    return None


def _double(content: Any, notes: Notes, _depth: int) -> Value:
    number = parse_double(content)
    return _malformed(notes) if number is None else double_value(number)


def _bytes(content: Any, notes: Notes, _depth: int) -> Value:
    try:
        return bytes_value(base64.b64decode(content, validate=True))
    except (TypeError, ValueError, binascii.Error):
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
    for resource_group, scope_group, records in envelope(body, signal, item):
        resource, scope = _resource(resource_group), _scope(scope_group)
        yield ScopeGroup(resource, scope, (read(record) for _, record in records))


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
    return Span(
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
        [_event(event, notes) for event in inner_objects(span, "events", notes)],
        [_link(link, notes) for link in inner_objects(span, "links", notes)],
        integer(span, "droppedAttributesCount", notes),
        integer(span, "droppedEventsCount", notes),
        integer(span, "droppedLinksCount", notes),
        notes,
    )


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
        integer(record, "severityNumber", notes, most=0x7FFFFFFF),
        text(record, "severityText", notes),
        text(record, "eventName", notes),
        any_value(record.get("body"), notes),
        attributes(record, notes),
        integer(record, "droppedAttributesCount", notes),
        notes,
    )

"""Protobuf requests whose values nest no deeper than allowed: the parser itself holds them to it.

upb gives up at a depth of its own, counted in messages below the outermost one. So a body is parsed inside of as many
empty messages as leave room for the deepest value that is allowed and nothing more. What does not fit in is no
message, or perhaps too deep (a map takes more messages than a list does, and a span stands deeper than a resource):
that alone is walked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from semconv.otlp_protobuf import parse
from semconv.settings import Signal
from semconv.wire import SCHEMAS, Tally, walk

REQUESTS: Final[dict[Signal, type[message.Message]]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
# upb's kUpb_WireFormat_DefaultDepthLimit.
_PARSER_LEVELS: Final = 100
# Where a value stands least deep: in a resource group, a resource, an attribute.
_LEVELS_OF_A_VALUE: Final = 4
# A list and the value in it.
_LEVELS_OF_A_LIST: Final = 2
# Groups, for they need no lengths: field 1 opens a wrapper and closes it. The body is field 2 to 4 of the innermost.
_OPEN, _CLOSE = b"\x0b", b"\x0c"
_BODY: Final[dict[Signal, int]] = {"traces": 2, "logs": 3, "metrics": 4}
_DELIMITED: Final = 2


def _wrapper() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="wrapper.proto", package="wrapper", syntax="proto2")
    wrapper = file.message_type.add(name="Wrapper")
    wrapper.field.add(
        name="inner",
        number=1,
        type=field.TYPE_GROUP,
        type_name=".wrapper.Wrapper",
        label=field.LABEL_OPTIONAL,
    )
    for signal, number in _BODY.items():
        request = REQUESTS[signal].DESCRIPTOR
        file.dependency.append(request.file.name)
        wrapper.field.add(
            name=signal,
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f".{request.full_name}",
            label=field.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("wrapper.Wrapper"))


_WRAPPER: Final = _wrapper()
# Wrapping takes as long as some spans do, however small the body: what is this small is looked at first.
_SMALL_BYTES: Final = 16 << 10
# Each list and map stands in a field of AnyValue with one of these tags (fields 5 and 6), or a longer spelling.
_LIST_TAGS: Final = frozenset(byte for tag in (0x2A, 0x32) for byte in (tag, tag | 0x80))
_OTHER_BYTES: Final = bytes(byte for byte in range(0x100) if byte not in _LIST_TAGS)


def parse_to_depth(signal: Signal, body: bytes, max_depth: int | None) -> Any:
    """The request in a body. DecodeError where it is none, TooDeep where a value is more than ``max_depth`` deep.

    ``max_depth`` None is what upb reads: 31 levels of maps, 47 of lists. So is a larger number.
    """
    levels = 0 if max_depth is None or _cannot_be_deep(body, max_depth) else _spare_levels(max_depth)
    if levels <= 0:
        return parse(REQUESTS[signal], body)
    try:
        return _parse_within(levels, signal, body)
    except message.DecodeError:
        walk(body, SCHEMAS[signal].root, Tally(signal, sys.maxsize, sys.maxsize), max_depth or 0)
        return parse(REQUESTS[signal], body)


def _cannot_be_deep(body: bytes, max_depth: int) -> bool:
    return len(body) <= _SMALL_BYTES and len(body.translate(None, _OTHER_BYTES)) < max_depth


def _spare_levels(max_depth: int) -> int:
    """Levels that may be filled; the request in the innermost wrapper is one more."""
    return _PARSER_LEVELS - _LEVELS_OF_A_VALUE - _LEVELS_OF_A_LIST * (max_depth - 1) - 1


def _parse_within(levels: int, signal: Signal, body: bytes) -> Any:
    tag = bytes([_BODY[signal] << 3 | _DELIMITED])
    wrapped = b"".join((_OPEN * levels, tag, _varint(len(body)), body, _CLOSE * levels))
    return _innermost(levels, signal)(_WRAPPER.FromString(wrapped))


@cache
def _innermost(levels: int, signal: Signal) -> Callable[[Any], Any]:
    return attrgetter("inner." * levels + signal)


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)

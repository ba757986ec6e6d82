"""A walk over the protobuf wire format that counts what a parser would build, without building it.

The shapes of the messages are read off the descriptors that the parser itself uses, so both always agree on
which bytes are a sub-message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from collector.receivers.status import Malformed, TooDeep, TooLarge
from semconv.settings import Signal

_VARINT, _FIXED64, _DELIMITED, _START_GROUP, _END_GROUP, _FIXED32 = range(6)
# A varint of 64 bits has at most 10 bytes (protobuf encoding guide).
_VARINT_BITS: Final = 70
_CONTINUED: Final = bytes(range(0x80, 0x100))
# Scalar fields are cheaper to parse than nodes; this many of them weigh as much as one.
_FIELDS_PER_NODE: Final = 8


@dataclass(slots=True, eq=False)
class Shape:
    """A message type: which of its length-delimited fields count, by their tag."""

    name: str
    children: dict[int, Shape] = field(default_factory=dict)
    packed: dict[int, int] = field(default_factory=dict)  # tag → bytes an element has, 0 = varint
    is_span: bool = False
    is_value: bool = False
    is_pair: bool = False


_TEXT: Final = Shape("string")  # an element of a repeated string: it has a place in memory, but no fields


def _shape(descriptor: Descriptor, known: dict[str, Shape]) -> Shape:
    name = descriptor.full_name
    if name in known:
        return known[name]
    shape = known[name] = Shape(
        name,
        is_span=name.endswith(".Span"),
        is_value=name.endswith(".AnyValue"),
        is_pair=name.endswith(".KeyValue"),
    )
    for entry in descriptor.fields:
        _add_field(shape, entry, known)
    return shape


def _add_field(shape: Shape, entry: FieldDescriptor, known: dict[str, Shape]) -> None:
    tag = entry.number << 3 | _DELIMITED
    if entry.message_type is not None:
        shape.children[tag] = _shape(entry.message_type, known)
    elif entry.is_repeated and entry.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        shape.children[tag] = _TEXT
    elif entry.is_repeated:
        shape.packed[tag] = _ELEMENT_BYTES.get(entry.type, 0)


_ELEMENT_BYTES: Final = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_SFIXED32: 4,
}


def _reachable(root: Shape, seen: set[int]) -> Iterator[Shape]:
    if id(root) not in seen:
        seen.add(id(root))
        yield root
        for child in root.children.values():
            yield from _reachable(child, seen)


def _down_to_spans(shape: Shape) -> Shape:
    """The envelopes of spans alone: whatever is not on the way from the request to a span is left out."""
    children = {tag: _down_to_spans(child) for tag, child in shape.children.items() if not child.is_value}
    on_the_way = {tag: child for tag, child in children.items() if child.is_span or child.children}
    return Shape(shape.name, {} if shape.is_span else on_the_way, is_span=shape.is_span)


@dataclass(frozen=True, slots=True)
class Schema:
    """What admission has to know of a signal's request."""

    root: Shape
    envelope: Shape | None  # None = the signal has no spans
    # Every byte that cannot be the first of a counted field's tag; None where nodes may stand without a tag.
    no_tag: bytes | None

    @property
    def least_node_bytes(self) -> int:
        """A node is a tag and a length, 2 bytes at least; an element of a packed field may have 1."""
        return 1 if self.no_tag is None else 2


def _schema(descriptor: Any) -> Schema:
    root = _shape(descriptor, {})
    shapes = list(_reachable(root, set()))
    envelope = _down_to_spans(root) if any(shape.is_span for shape in shapes) else None
    if any(shape.packed for shape in shapes):
        return Schema(root, envelope, None)
    # A tag's first byte holds its low 7 bits; the high bit says that more follow, as in an overlong tag.
    low = {tag & 0x7F for shape in shapes for tag in shape.children}
    no_tag = bytes(byte for byte in range(0x100) if byte & 0x7F not in low)
    return Schema(root, envelope, no_tag)


SCHEMAS: Final[dict[Signal, Schema]] = {
    "traces": _schema(trace_service_pb2.ExportTraceServiceRequest.DESCRIPTOR),
    "logs": _schema(logs_service_pb2.ExportLogsServiceRequest.DESCRIPTOR),
    "metrics": _schema(metrics_service_pb2.ExportMetricsServiceRequest.DESCRIPTOR),
}


def walk(body: bytes, root: Shape, max_spans: int, max_nodes: int, max_depth: int) -> None:  # noqa: C901, PLR0912, PLR0915 - one loop: a call per field would cost more than the field
    """Count spans, nodes (sub-messages and elements of repeated scalars) and how deep values nest.

    Returns None within the limits; raises TooLarge or TooDeep at the first thing too many, and Malformed
    where the bytes are no protobuf message. Costs about 0.2 µs a field.
    """
    nodes = spans = fields = depth = position = 0
    end, shape = len(body), root
    max_fields = max_nodes * _FIELDS_PER_NODE
    around: list[tuple[int, Shape, int]] = []  # what encloses the message at hand
    try:
        while True:
            while position == end:
                if not around:
                    return
                end, shape, depth = around.pop()
            fields += 1
            tag = body[position]
            position += 1
            if tag >= 0x80:
                tag, position = _varint(body, position - 1)
            wire_type = tag & 7
            if wire_type == _DELIMITED:
                length = body[position]
                position += 1
                if length >= 0x80:
                    length, position = _varint(body, position - 1)
                if length > end - position:
                    raise _malformed(root, position)
                child = shape.children.get(tag)
                if child is None:
                    if tag in shape.packed:
                        nodes += _elements(body[position : position + length], shape.packed[tag])
                    position += length
                else:
                    nodes += 1
                    if child.is_span:
                        spans += 1
                        if spans > max_spans:
                            raise TooLarge(
                                f"the request has more than {max_spans} spans; send smaller batches"
                            )
                    if child.is_pair and 6 <= length < 0x80 and _is_simple(body, position, length):
                        nodes += 1
                        position += length
                    elif child.children or child.packed:
                        around.append((end, shape, depth))
                        end, shape = position + length, child
                        if child.is_value:
                            depth += 1
                            if depth > max_depth:
                                raise TooDeep(f"a value is nested more than {max_depth} deep")
                    else:
                        position += length
                if nodes > max_nodes:
                    raise TooLarge(f"the request has more than {max_nodes} values; send smaller batches")
            elif wire_type == _VARINT:
                while body[position] >= 0x80:
                    position += 1
                position += 1
            elif wire_type == _FIXED64:
                position += 8
            elif wire_type == _FIXED32:
                position += 4
            elif wire_type > _FIXED32:
                raise _malformed(root, position)
            if position > end:
                raise _malformed(root, position)
            if fields > max_fields:
                raise TooLarge(f"the request has more than {max_fields} fields; send smaller batches")
    except IndexError:
        raise _malformed(root, position) from None


def _is_simple(body: bytes, position: int, length: int) -> bool:
    """Whether a KeyValue is a key and then one scalar and nothing else: what nearly every attribute is.

    For ``length`` from 6 to 127. Saying no costs time only: the walk then looks at each field.
    """
    value = position + 2 + body[position + 1]
    value_length = position + length - value - 2
    if value_length < 2 or body[position] != 0x0A or body[value] != 0x12 or body[value + 1] != value_length:
        return False
    kind = body[value + 2]
    if kind == 0x0A:  # string_value
        return body[value + 3] == value_length - 2
    if kind in (0x10, 0x18):  # bool_value, int_value: every byte but the last says that the number goes on
        return value_length == 2 or min(body[value + 3 : value + 1 + value_length]) >= 0x80
    return kind == 0x21 and value_length == 9  # double_value


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """The varint at ``position`` and the position after it."""
    value = shift = 0
    while True:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift >= _VARINT_BITS:
            raise IndexError


def _elements(packed: bytes, element_bytes: int) -> int:
    """How many numbers a packed field holds; a varint ends with its only byte below 0x80."""
    return len(packed) // element_bytes if element_bytes else len(packed.translate(None, _CONTINUED))


def _malformed(root: Shape, position: int) -> Malformed:
    name = root.name.rpartition(".")[2]
    return Malformed(f"the body is not a protobuf {name}: byte {position} does not parse")

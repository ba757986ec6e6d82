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

# Wire types (protobuf encoding guide), and how many bytes the content of the others has.
_VARINT: Final = 0
_DELIMITED: Final = 2
_WIDTHS: Final = {
    1: 8,
    3: 0,
    4: 0,
    5: 4,
    6: 1 << 62,
    7: 1 << 62,
}  # 6 and 7 do not exist: no body is that long
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


class Tally:
    """What a body holds so far, and how much of each it may hold.

    Nodes are sub-messages and elements of repeated scalars; a value's depth is how many values it stands in,
    itself included. Raises TooLarge or TooDeep at the first thing too many.
    """

    __slots__ = ("fields", "max_depth", "max_fields", "max_nodes", "max_spans", "nodes", "spans")

    def __init__(self, max_spans: int, max_nodes: int, max_depth: int) -> None:
        self.max_spans, self.max_nodes, self.max_depth = max_spans, max_nodes, max_depth
        self.max_fields = max_nodes * _FIELDS_PER_NODE
        self.spans = self.nodes = self.fields = 0

    def add_nodes(self, count: int) -> None:
        self.nodes += count
        if self.nodes > self.max_nodes:
            raise TooLarge(f"the request has more than {self.max_nodes} values; send smaller batches")

    def add_spans(self, count: int) -> None:
        self.spans += count
        if self.spans > self.max_spans:
            raise TooLarge(f"the request has more than {self.max_spans} spans; send smaller batches")

    def add_field(self) -> None:
        self.fields += 1
        if self.fields > self.max_fields:
            raise TooLarge(f"the request has more than {self.max_fields} fields; send smaller batches")

    def check_depth(self, depth: int) -> None:
        if depth > self.max_depth:
            raise TooDeep(f"a value is nested more than {self.max_depth} deep")


def walk(body: bytes, root: Shape, tally: Tally) -> None:
    """Add up what ``body`` holds of ``root``'s children and their children, in time linear in its fields.

    Raises TooLarge or TooDeep beyond the tally's limits, and Malformed where the bytes are no such message.
    """
    try:
        _walk(body, 0, len(body), root, 0, tally)
    except (IndexError, _CutShort):
        name = root.name.rpartition(".")[2]
        raise Malformed(f"the body is not a protobuf {name}") from None
    except RecursionError:  # only where the limits allow more than the parser would
        raise TooDeep("a value is nested too deep") from None


class _CutShort(Exception):  # noqa: N818 - turned into Malformed
    pass


def _walk(body: bytes, position: int, end: int, shape: Shape, depth: int, tally: Tally) -> None:
    while position < end:
        tag, start, stop = _field(body, position, end)
        child = shape.children.get(tag)
        if child is None:
            tally.add_field()
            if tag in shape.packed:
                tally.add_nodes(_elements(body[start:stop], shape.packed[tag]))
        elif body[position] != tag:  # an overlong tag, which no encoder writes
            _enter(body, start, stop, child, depth, tally)
        elif child.is_span and not child.children:
            stop, spans = _run(body, position, end, tally.max_spans)
            tally.add_spans(spans)
            tally.add_nodes(spans)
        elif child.is_pair and (pairs := _simple_pairs(body, position, end))[1]:
            stop = pairs[0]
            tally.add_nodes(2 * pairs[1])
            tally.check_depth(depth + 1)
        else:
            _enter(body, start, stop, child, depth, tally)
        position = stop


def _enter(body: bytes, start: int, stop: int, child: Shape, depth: int, tally: Tally) -> None:
    tally.add_nodes(1)
    if child.is_span:
        tally.add_spans(1)
    elif child.is_value:
        depth += 1
        tally.check_depth(depth)
    if start < stop and (child.children or child.packed):
        _walk(body, start, stop, child, depth, tally)


def _field(body: bytes, position: int, end: int) -> tuple[int, int, int]:
    """The field at ``position``: its tag, where its content starts, where it stops. Raises _CutShort."""
    tag = body[position]
    start = position + 1
    if tag >= 0x80:
        tag, start = _varint(body, position)
    wire_type = tag & 7
    if wire_type == _DELIMITED:
        length = body[start]
        start += 1
        if length >= 0x80:
            length, start = _varint(body, start - 1)
        stop = start + length
    elif wire_type == _VARINT:
        stop = _varint(body, start)[1]
    else:
        # Groups have no content of their own: what stands in them is looked at as if it stood outside.
        stop = start + _WIDTHS[wire_type]
    if stop > end:
        raise _CutShort
    return tag, start, stop


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
            raise _CutShort


def _run(body: bytes, position: int, end: int, most: int) -> tuple[int, int]:
    """Pass over fields that have the tag of the one at ``position``: the position after, and how many.

    Stops at the first one beyond ``most``. This is all that admission costs an ordinary batch.
    """
    tag = body[position]
    count = 0
    while position < end and body[position] == tag and count <= most:
        length = body[position + 1]
        if length < 0x80:
            position += 2 + length
        elif (high := body[position + 2]) < 0x80:
            position += 3 + (length & 0x7F | high << 7)
        else:
            position = _field(body, position, end)[2]
        count += 1
    if position > end:
        raise _CutShort
    return position, count


def _simple_pairs(body: bytes, position: int, end: int) -> tuple[int, int]:
    """Pass over KeyValues that are a key, then one scalar, and no more: the position after, and how many.

    Nearly every attribute is one. Stopping too early costs time only: the walk then looks at each field.
    """
    tag = body[position]
    count = 0
    while position + 8 <= end and body[position] == tag:
        length = body[position + 1]
        stop = position + 2 + length
        value = position + 4 + body[position + 3]
        value_length = stop - value - 2
        if length >= 0x80 or stop > end or value_length < 2 or body[position + 2] != 0x0A:
            break
        if body[value] != 0x12 or body[value + 1] != value_length:
            break
        if not _is_scalar(body, value + 2, value_length):
            break
        position = stop
        count += 1
    return position, count


def _is_scalar(body: bytes, position: int, length: int) -> bool:
    """Whether an AnyValue of 2 to 123 bytes is one scalar field, and nothing else."""
    kind = body[position]
    if kind == 0x0A:  # string_value
        return body[position + 1] == length - 2
    if kind in (0x10, 0x18):  # bool_value, int_value: each byte but the last says that the number goes on
        return length == 2 or min(body[position + 1 : position + length - 1]) >= 0x80
    return kind == 0x21 and length == 9  # double_value


def _elements(packed: bytes, element_bytes: int) -> int:
    """How many numbers a packed field holds; a varint ends with its only byte below 0x80."""
    return len(packed) // element_bytes if element_bytes else len(packed.translate(None, _CONTINUED))

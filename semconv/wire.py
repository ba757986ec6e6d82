"""A walk over the protobuf wire format that counts what a parser would build, without building it.

The shapes of the messages are read off the descriptors that the parser itself uses, so both always agree on
which bytes are a sub-message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from semconv.otlp import DecodeError, TooDeep
from semconv.settings import Signal

ITEM_NAMES: Final[dict[Signal, str]] = {"traces": "spans", "logs": "log records", "metrics": "data points"}
_ITEMS: Final = frozenset(
    {
        "Span",
        "LogRecord",
        "NumberDataPoint",
        "HistogramDataPoint",
        "ExponentialHistogramDataPoint",
        "SummaryDataPoint",
    }
)
# A value stands in one list or map more for each of these around it.
_LISTS: Final = frozenset({"ArrayValue", "KeyValueList"})

# Wire types (protobuf encoding guide), and how many bytes the content of the others has.
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_WIDTHS: Final = {_FIXED64: 8, 3: 0, 4: 0, _FIXED32: 4, 6: 1 << 62, 7: 1 << 62}  # 6 and 7 do not exist
_SCALARS: Final = frozenset({_VARINT, _FIXED64, _FIXED32})
# A varint of 64 bits has at most 10 bytes (protobuf encoding guide).
_VARINT_BITS: Final = 70
_CONTINUED: Final = bytes(range(0x80, 0x100))
_ELEMENT_BYTES: Final = {
    FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED64: 8,
    FieldDescriptor.TYPE_FLOAT: 4,
    FieldDescriptor.TYPE_FIXED32: 4,
    FieldDescriptor.TYPE_SFIXED32: 4,
}
# A record has fewer texts, and whatever else has a length, than twice its values.
_FIELDS_PER_NODE: Final = 2
# A longer field is not looked for again behind itself; shorter ones are compared in pieces of this size.
_LONGEST_REPEATED: Final = 4 << 10
_COMPARED: Final = 16 << 10


class TooMany(Exception):  # noqa: N818 - an answer to "how many are there?"
    """A body with more in it than the limits allow. The message is one sentence for the sender."""


# --- shapes ---------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Shape:
    """A message type: which of its fields count, by their tag."""

    name: str
    children: dict[int, Shape] = field(default_factory=dict)
    packed: dict[int, int] = field(default_factory=dict)  # tag → bytes an element has, 0 = varint
    elements: set[int] = field(default_factory=set)  # tags of the same fields where they are not packed
    # What follows from these.
    scalars: re.Pattern[bytes] = field(init=False)  # a run of fields that do not count
    has_nodes: bool = field(init=False)  # there may be something in it to be counted
    is_item: bool = field(init=False)
    is_list: bool = field(init=False)
    is_pair: bool = field(init=False)

    def complete(self) -> Shape:
        """To be called once all fields are known."""
        self.scalars = _uncounted(self.elements)
        self.has_nodes = bool(self.children or self.packed)
        self.is_item = self.name in _ITEMS
        self.is_list = self.name in _LISTS
        self.is_pair = self.name == "KeyValue"
        return self


def _uncounted(counted: Iterable[int]) -> re.Pattern[bytes]:
    """Matches fields without a length but those with the tags ``counted``; not what is cut short.

    The quantifiers are possessive, so that no body makes the expression try twice.
    """
    low = {tag & 0x7F for tag in counted}
    digits = rb"[\x80-\xff]*+[\x00-\x7f]"
    contents = {_VARINT: digits, _FIXED64: b".{8}", _FIXED32: b".{4}"}
    fields = []
    for wire_type, content in contents.items():
        # A tag's first byte holds the wire type and what tells small tags apart, also where further ones follow.
        first = [byte for byte in range(wire_type, 0x80, 8) if byte not in low]
        short = b"".join(b"\\x%02x" % byte for byte in first)
        long = b"".join(b"\\x%02x" % (byte | 0x80) for byte in first)
        fields.append(b"(?:[%b]|[%b]%b)%b" % (short, long, digits, content))
    return re.compile(b"(?:%b)*+" % b"|".join(fields), re.DOTALL)


# An element of a repeated string: it has a place in memory, but no fields.
_TEXT: Final = Shape("string").complete()


def _shape(descriptor: Descriptor, known: dict[str, Shape]) -> Shape:
    name = descriptor.full_name
    if name not in known:
        shape = known[name] = Shape(descriptor.name)
        for entry in descriptor.fields:
            _read_field(shape, entry, known)
        shape.complete()
    return known[name]


def _read_field(shape: Shape, entry: FieldDescriptor, known: dict[str, Shape]) -> None:
    tag = entry.number << 3 | _DELIMITED
    if entry.message_type is not None:
        shape.children[tag] = _shape(entry.message_type, known)
    elif entry.is_repeated and entry.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        shape.children[tag] = _TEXT
    elif entry.is_repeated:
        width = shape.packed[tag] = _ELEMENT_BYTES.get(entry.type, 0)
        wire_type = {0: _VARINT, 4: _FIXED32, 8: _FIXED64}[width]
        shape.elements.add(entry.number << 3 | wire_type)


def _down_to_items(shape: Shape) -> Shape:
    """The envelopes of items alone: whatever is not on the way from the request to an item is left out."""
    if shape.is_item:
        return Shape(shape.name).complete()
    children = {tag: _down_to_items(child) for tag, child in shape.children.items() if not child.is_pair}
    on_the_way = {tag: child for tag, child in children.items() if child.is_item or child.children}
    return Shape(shape.name, on_the_way).complete()


@dataclass(frozen=True, slots=True)
class Schema:
    """What has to be known of a signal's request: all of it, and the way to its items alone."""

    root: Shape
    envelope: Shape
    # Every byte that cannot be the first of a counted field's tag; None where nodes may stand without a tag.
    no_tag: bytes | None

    @property
    def least_node_bytes(self) -> int:
        """A node is a tag and a length, 2 bytes at least; an element of a packed field may have 1."""
        return 1 if self.no_tag is None else 2


def _schema(descriptor: Descriptor) -> Schema:
    known = {"": _TEXT}
    root = _shape(descriptor, known)
    envelope = _down_to_items(root)
    if any(shape.packed for shape in known.values()):
        return Schema(root, envelope, None)
    # A tag's first byte holds its low 7 bits; the high bit says that more follow, as in an overlong tag.
    low = {tag & 0x7F for shape in known.values() for tag in shape.children}
    return Schema(root, envelope, bytes(byte for byte in range(0x100) if byte & 0x7F not in low))


SCHEMAS: Final[dict[Signal, Schema]] = {
    "traces": _schema(ExportTraceServiceRequest.DESCRIPTOR),
    "logs": _schema(ExportLogsServiceRequest.DESCRIPTOR),
    "metrics": _schema(ExportMetricsServiceRequest.DESCRIPTOR),
}


# --- the walk -------------------------------------------------------------------------------------


class Tally:
    """What a body holds so far, and how much of each it may hold.

    Items are spans, log records or data points, nodes sub-messages and elements of repeated scalars; fields have a
    length and are neither. Raises TooMany at the first one too many.
    """

    __slots__ = ("fields", "items", "max_fields", "max_items", "max_nodes", "nodes", "signal")

    def __init__(self, signal: Signal, max_items: int, max_nodes: int) -> None:
        self.signal: Signal = signal
        self.max_items, self.max_nodes = max_items, max_nodes
        self.max_fields = max_nodes * _FIELDS_PER_NODE
        self.items = self.nodes = self.fields = 0

    def add(self, items: int = 0, nodes: int = 0, fields: int = 0) -> None:
        self.items += items
        self.nodes += nodes
        self.fields += fields
        if self.items > self.max_items:
            raise too_many(self.max_items, ITEM_NAMES[self.signal])
        if self.nodes > self.max_nodes:
            raise too_many(self.max_nodes, "values")
        if self.fields > self.max_fields:
            raise too_many(self.max_fields, "fields")


def too_many(limit: int, things: str) -> TooMany:
    return TooMany(f"the request has more than {limit} {things}; send smaller batches")


def walk(body: bytes, root: Shape, tally: Tally, max_depth: int) -> None:
    """Add up what ``body`` holds of ``root``'s children and their children, in time linear in its fields.

    TooMany beyond the tally's limits, TooDeep where a value stands in ``max_depth`` lists and maps, DecodeError
    where the bytes are no such message.
    """
    try:
        _walk(body, 0, len(body), root, max_depth, tally)
    except (IndexError, _CutShort):
        raise DecodeError(f"the body is not a protobuf {root.name} ({len(body)} bytes)") from None
    except _OneTooDeep:
        raise TooDeep(f"a value is nested more than {max_depth} deep") from None
    except RecursionError:  # only where the limits allow more than the parser would
        raise TooDeep("a value is nested too deep") from None


class _CutShort(Exception):  # noqa: N818 - turned into DecodeError
    pass


class _OneTooDeep(Exception):  # noqa: N818 - turned into TooDeep
    pass


def _walk(body: bytes, position: int, end: int, shape: Shape, depth: int, tally: Tally) -> None:
    """``depth`` is how many lists and maps may stand in each other here, and one more."""
    while position < end:
        tag = body[position]
        if tag & 7 != _DELIMITED:
            stop = _past_scalars(body, position, end, shape, tally)
        else:
            length = body[position + 1] if tag < 0x80 else 0x80
            start = position + 2
            stop = start + length
            if length >= 0x80:
                tag, start, stop = _field(body, position, end)
            elif stop > end:
                raise _CutShort
            child = shape.children.get(tag)
            if child is None:
                _add_field(body, start, stop, shape.packed.get(tag), tally)
            elif child.is_pair and (pairs := _simple_pairs(body, position, end))[1]:
                stop = pairs[0]
                tally.add(nodes=2 * pairs[1])
            elif child.is_item and not child.children and body[position] == tag:
                stop, items = _run(body, position, end, tally.max_items)
                tally.add(items, items)
            else:
                tally.add(child.is_item, 1)
                if child.has_nodes:
                    _walk(body, start, stop, child, _below(child, depth), tally)
        if stop < end and body[stop] == body[position]:
            stop = _past_repeated(body, position, stop, end, shape, depth, tally)
        position = stop


def _below(child: Shape, depth: int) -> int:
    if not child.is_list:
        return depth
    if depth == 1:
        raise _OneTooDeep
    return depth - 1


def _past_scalars(body: bytes, position: int, end: int, shape: Shape, tally: Tally) -> int:
    """Pass over fields without a length: all that do not count, or one that does."""
    found = shape.scalars.match(body, position, end)
    if found and found.end() > position:
        return found.end()
    tag, _, stop = _field(body, position, end)
    is_element = tag in shape.elements
    tally.add(nodes=is_element, fields=not is_element)
    return stop


def _add_field(body: bytes, start: int, stop: int, element_bytes: int | None, tally: Tally) -> None:
    """A field with a length that is no sub-message; ``element_bytes`` None = and no packed field either."""
    if element_bytes is not None:
        tally.add(nodes=_elements(body[start:stop], element_bytes))
    else:
        tally.fields += 1
        if tally.fields > tally.max_fields:
            raise too_many(tally.max_fields, "fields")


def _past_repeated(
    body: bytes, position: int, stop: int, end: int, shape: Shape, depth: int, tally: Tally
) -> int:
    """Pass over what is, byte for byte, from ``position`` to ``stop`` once more, adding what that holds.

    What is 65 KB compressed and 64 MiB decoded is little else.
    """
    unit = several = body[position:stop] if stop - position <= _LONGEST_REPEATED else b""
    if not unit or not body.startswith(unit, stop, end):
        return stop
    first = stop
    while body.startswith(several, stop, end):
        stop += len(several)
        if len(several) < _COMPARED:
            several += several
    while body.startswith(unit, stop, end):
        stop += len(unit)
    once = Tally(tally.signal, tally.max_items, tally.max_nodes)
    _walk(unit, 0, len(unit), shape, depth, once)
    times = (stop - first) // len(unit)
    tally.add(once.items * times, once.nodes * times, once.fields * times)
    return stop


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

"""OTLP as protobuf: one message of any size, or messages after each other with their lengths before them.

The three signals' requests are alike down to the records: field 1 holds resources; a resource holds itself
(1), its scopes (2) and a schema URL (3); a scope likewise holds itself, its records and a schema URL. So
everything can be split without knowing the signal, which is then told from the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from collector.backfill.parts import DEFAULT_SIZES, RECORD_BYTES, Malformed, Pack, Rejected, Sizes
from collector.backfill.spill import Spill

# "big-endian" is what the collector's file exporter writes with format: proto (4 bytes before each message).
Framing = Literal["none", "varint", "big-endian"]

_RESOURCES: Final = 0x0A  # field 1, length-delimited
_CHILDREN: Final = 0x12  # field 2: a resource's scopes, a scope's records
_FIELDS_OF_A_RESOURCE: Final = (0x0A, 0x12, 0x1A)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Returns (value, position behind it). Raises IndexError where the data ends, Malformed over 10 bytes."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise Malformed("not protobuf: a number of more than 10 bytes")


def field_bytes(tag: int, payload: bytes) -> bytes:
    return varint(tag) + varint(len(payload)) + payload


def detect_framing(head: bytes, complete: bool) -> Framing | None:
    """How the messages at the beginning are set apart; None = this is not OTLP protobuf.

    ``complete`` says that ``head`` is the whole input.
    """
    size = len(head) if complete else None
    if _begins_message(head, 0, size):
        return "none"
    length = int.from_bytes(head[:4], "big")
    if length > 0 and (size is None or length + 4 <= size) and _begins_message(head, 4, 4 + length):
        return "big-endian"
    try:
        length, start = read_varint(head, 0)
    except (IndexError, Malformed):
        return None
    fits = length > 0 and (size is None or start + length <= size)
    return "varint" if fits and _begins_message(head, start, start + length) else None


def _begins_message(head: bytes, start: int, end: int | None) -> bool:
    """Whether a resource begins at ``start`` and fits before ``end``, and its first field fits into it."""
    try:
        if head[start] != _RESOURCES:
            return False
        length, inside = read_varint(head, start + 1)
        if length == 0:
            return True
        if head[inside] not in _FIELDS_OF_A_RESOURCE:
            return False
        part, begin = read_varint(head, inside + 1)
    except (IndexError, Malformed):
        return False
    return begin + part <= inside + length and (end is None or inside + length <= end)


class ProtoCursor:
    """``data[pos:]`` is the window's unread part."""

    def __init__(self, read: Callable[[], bytes], head: bytes = b"") -> None:
        self._read = read
        self._data = head
        self._pos = 0
        self._dropped = 0

    def offset(self) -> int:
        """Bytes consumed since the beginning of the (unpacked) input."""
        return self._dropped + self._pos

    def has(self, count: int) -> bool:
        """Whether ``count`` more bytes are there; reads on as needed."""
        missing = self._pos + count - len(self._data)
        if missing <= 0:
            return True
        blocks = [self._data[self._pos :]]
        while missing > 0 and (block := self._read()):
            blocks.append(block)
            missing -= len(block)
        self._dropped, self._pos, self._data = self.offset(), 0, b"".join(blocks)
        return missing <= 0

    def take(self, count: int) -> bytes:
        """Raises Malformed where the input ends before ``count`` bytes."""
        if not self.has(count):
            raise Malformed("the input ends inside a message")
        self._pos += count
        return self._data[self._pos - count : self._pos]

    def varint(self) -> int:
        self.has(10)
        try:
            value, self._pos = read_varint(self._data, self._pos)
        except IndexError:
            raise Malformed("the input ends inside a message") from None
        return value

    def fields(self, end: int | None) -> Iterator[tuple[int, int]]:
        """Yields (tag, length), standing before each length-delimited payload up to the offset ``end``
        (None = the end of the input); the caller consumes it. Fields of other kinds are passed over: OTLP
        has none here."""
        while self.offset() < end if end is not None else self.has(1):
            tag = self.varint()
            if tag & 7 == 2:
                length = self.varint()
                if end is not None and self.offset() + length > end:
                    raise Malformed("not protobuf: a field is longer than what holds it")
                yield tag, length
            else:
                self._skip_scalar(tag)

    def _skip_scalar(self, tag: int) -> None:
        match tag & 7:
            case 0:
                self.varint()
            case 1:
                self.take(8)
            case 5:
                self.take(4)
            case _:
                raise Malformed("not protobuf: an unknown wire type")


class ProtoReader:
    """Cuts small requests out of messages; which signal they are of is told elsewhere (signals.py)."""

    def __init__(self, cursor: ProtoCursor, scratch: Path | None, sizes: Sizes = DEFAULT_SIZES) -> None:
        self._cursor = cursor
        self._scratch = scratch
        self._sizes = sizes

    def read(self, framing: Framing) -> Iterator[tuple[bytes, str] | Rejected]:
        """Yields (body, where), and what was rejected; behind a malformed message nothing can be read."""
        try:
            if framing == "none":
                yield from self._message(None)
                return
            while self._cursor.has(1):
                yield from self._framed(framing)
        except Malformed as error:
            yield Rejected(self._where(), str(error))

    def _where(self) -> str:
        return f"byte {self._cursor.offset():,}"

    def _framed(self, framing: Framing) -> Iterator[tuple[bytes, str]]:
        where = self._where()
        big_endian = framing == "big-endian"
        length = int.from_bytes(self._cursor.take(4), "big") if big_endian else self._cursor.varint()
        if length <= self._sizes.whole and self._cursor.has(length):
            yield self._cursor.take(length), where
        else:
            yield from self._message(self._cursor.offset() + length)

    def _message(self, end: int | None) -> Iterator[tuple[bytes, str]]:
        pack = Pack(self._sizes.request)
        try:
            for tag, length in self._cursor.fields(end):
                where = self._where()
                if tag != _RESOURCES:
                    self._pass_over(length)
                elif length <= self._sizes.whole and self._cursor.has(length):
                    if pack.add(field_bytes(tag, self._cursor.take(length)), where):
                        yield _joined(*pack.take())
                else:
                    yield from (_joined(*left) for left in pack.drain())
                    yield from self._split_resource(self._cursor.offset() + length)
        except Malformed:
            yield from (_joined(*left) for left in pack.drain())
            raise
        yield from (_joined(*left) for left in pack.drain())

    def _pass_over(self, length: int) -> None:
        while length > 0:
            step = min(length, RECORD_BYTES)
            self._cursor.take(step)
            length -= step

    def _split_resource(self, end: int) -> Iterator[tuple[bytes, str]]:
        with Spill(self._scratch) as spill:
            split = _SplitResource(self._cursor, spill, self._sizes.request)
            failure: Malformed | None = None
            try:
                split.read(end)
            except Malformed as error:
                failure = error
            yield from split.requests()
            if failure:
                raise failure


class _SplitResource:
    """One resource, read record by record into the spill, and put together again as many small requests."""

    def __init__(self, cursor: ProtoCursor, spill: Spill, request_bytes: int) -> None:
        self._cursor = cursor
        self._spill = spill
        self._request_bytes = request_bytes
        self._resource_fields: list[bytes] = []
        self._scope_fields: list[list[bytes]] = []

    def read(self, end: int) -> None:
        for tag, length in self._cursor.fields(end):
            if tag == _CHILDREN:
                self._read_scope(self._cursor.offset() + length)
            else:
                self._resource_fields.append(self._field(tag, length))

    def _read_scope(self, end: int) -> None:
        header: list[bytes] = []
        self._scope_fields.append(header)
        pack = Pack(self._request_bytes)
        try:
            for tag, length in self._cursor.fields(end):
                where = f"byte {self._cursor.offset():,}"
                if tag != _CHILDREN:
                    header.append(self._field(tag, length))
                elif pack.add(self._field(tag, length), where):
                    self._keep(*pack.take())
        finally:
            for left in pack.drain():
                self._keep(*left)

    def _field(self, tag: int, length: int) -> bytes:
        if length > RECORD_BYTES:
            raise Malformed("a single record of more than 64 MiB")
        return field_bytes(tag, self._cursor.take(length))

    def _keep(self, records: list[bytes], where: str) -> None:
        self._spill.add(len(self._scope_fields) - 1, where, b"".join(records))

    def requests(self) -> Iterator[tuple[bytes, str]]:
        for scope, where, records in self._spill:
            scopes = field_bytes(_CHILDREN, b"".join([*self._scope_fields[scope], records]))
            yield field_bytes(_RESOURCES, b"".join([*self._resource_fields, scopes])), where


def _joined(resources: list[bytes], where: str) -> tuple[bytes, str]:
    return b"".join(resources), where

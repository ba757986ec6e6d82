"""A large protobuf request as several small ones.

Requests are read item by item (a span, a log record, a metric), so nobody needs the parser's objects for 64 MiB
at a time: they take some 200 MB, and the parser lets no other thread run until it has made them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from semconv.settings import Signal

# Some 1,000 spans, which are parsed in 5 ms.
PIECE_BYTES: Final = 1 << 20
# The one field of a signal's request.
GROUPS: Final[dict[Signal, str]] = {
    "traces": "resource_spans",
    "logs": "resource_logs",
    "metrics": "resource_metrics",
}
# Tags on the way to the items: resource_spans = 1 of the request, scope_spans = 2 of these, spans = 2 of those;
# alike for logs and metrics.
_WAY: Final = (0x0A, 0x12, 0x12)
# What stands around the items is in each piece again: no more than this, and a few pieces more than there must be.
_AROUND_BYTES: Final = 64 << 10
_PIECES_PER_PIECE_BYTES: Final = 4
# In one message: twice the spans that a request may have. More are small, and cost a parser little.
_MOST_FIELDS: Final = 100_000
# Wire types (protobuf encoding guide).
_VARINT, _DELIMITED = 0, 2
_WIDTHS: Final = {1: 8, 5: 4}
_VARINT_BITS: Final = 70

# Fields outside of the way, level by level (whole when all of the level was looked at), and from where to where
# fields of the last level stand in the body.
_Piece = tuple[tuple[bytearray, ...], int, int]


class _Odd(Exception):  # noqa: N818 - an answer
    """Bytes that are no message, or not such as are worth taking apart: one with groups, for example."""


def pieces(body: bytes) -> Iterator[bytes]:
    """Requests that hold together what ``body`` does, in its order, each item beside its resource and scope.

    Each has about PIECE_BYTES, or one item that is larger. It is ``body`` itself where that is no larger, and
    where it cannot be taken apart: a parser will say why.
    """
    return (piece for piece, _ in numbered_pieces(body))


def numbered_pieces(body: bytes) -> Iterator[tuple[bytes, int]]:
    """The pieces of a request, those of one scope with one number, each other with a number of its own."""
    if len(body) <= PIECE_BYTES:
        yield body, 0
        return
    most = _PIECES_PER_PIECE_BYTES * len(body) // PIECE_BYTES
    try:
        plan = list(islice(_split(body, 0, len(body), _WAY), most + 1))
    except (IndexError, _Odd):
        plan = []
    if not 0 < len(plan) <= most:
        yield body, 0
        return
    number, scope = 0, None
    for around, start, stop in plan:
        own = around[-1] if len(around) == len(_WAY) else None
        number += own is None or own is not scope
        scope = own
        yield _wrapped(around, body[start:stop]), number


def _split(body: bytes, start: int, end: int, way: tuple[int, ...]) -> Iterator[_Piece]:
    """A message in pieces: the fields on the way are shared out, whatever else it has is in all of them."""
    around = bytearray()
    first = last = start
    is_empty = True
    for tag, at, content, stop in _fields(body, start, end):
        if tag != way[0]:
            around += body[at:stop]
            if len(around) > _AROUND_BYTES:
                raise _Odd
            continue
        is_large = stop - at > PIECE_BYTES and len(way) > 1
        if first < last and (is_large or at != last or stop - first > PIECE_BYTES):
            yield (around,), first, last
            first = last
        if is_large:
            for inner, inner_first, inner_last in _split(body, content, stop, way[1:]):
                yield (around, *inner), inner_first, inner_last
        else:
            first, last = at if first == last else first, stop
        is_empty = False
    if first < last or is_empty:
        yield (around,), first, last


def _wrapped(around: tuple[bytearray, ...], content: bytes) -> bytes:
    """``content`` in the messages of its levels."""
    outermost, *inner = around
    for level in range(len(inner), 0, -1):
        size = len(inner[level - 1]) + len(content)
        content = b"".join(((bytes((_WAY[level - 1], *_length(size)))), inner[level - 1], content))
    return bytes(outermost) + content


def _length(size: int) -> Iterator[int]:
    while size >= 0x80:
        yield size & 0x7F | 0x80
        size >>= 7
    yield size


def _fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: tag, and where each begins, its content begins, and it stops. Raises _Odd."""
    for _ in range(_MOST_FIELDS):
        if at == end:
            return
        tag, content = _varint(body, at)
        wire_type = tag & 7
        if wire_type == _DELIMITED:
            size, content = _varint(body, content)
            stop = content + size
        elif wire_type == _VARINT:
            stop = _varint(body, content)[1]
        elif wire_type in _WIDTHS:
            stop = content + _WIDTHS[wire_type]
        else:
            raise _Odd
        if stop > end:
            raise _Odd
        yield tag, at, content, stop
        at = stop
    raise _Odd


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """The varint at ``position``, and the position after it."""
    value = shift = 0
    while shift < _VARINT_BITS:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _Odd

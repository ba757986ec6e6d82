"""Content-Encoding, inflated in bounded steps."""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator
from typing import Final

from collector.receivers.status import Malformed, UnsupportedMedia

GZIP_MAGIC: Final = b"\x1f\x8b"
SUPPORTED: Final = frozenset({"", "identity", "gzip", "x-gzip"})

# Largest piece of output: what is held beyond the limit that the caller checks after each piece.
PIECE_BYTES: Final = 1 << 20
# Fed to zlib at a time: it copies whatever it leaves over at the end of a member.
_FEED_BYTES: Final = 1 << 16
# Block gzip has a member for each 64 KiB of content; 64 MiB of that are 1,024.
_MAX_MEMBERS: Final = 10_000
_GZIP: Final = zlib.MAX_WBITS | 16


def check_supported(content_encoding: str) -> str:
    """``content_encoding`` in lower case. Raises UnsupportedMedia for what is not spoken here."""
    name = content_encoding.strip().lower()
    if name not in SUPPORTED:
        raise UnsupportedMedia(f"Content-Encoding {name[:40]!r} is not supported; send gzip or none")
    return name


def is_gzip(name: str) -> bool:
    return name in ("gzip", "x-gzip")


def gunzip(compressed: bytes) -> Iterator[bytes]:
    """The content of one or more gzip members, in pieces of at most PIECE_BYTES.

    Raises Malformed where the input is not gzip, is cut short, or goes on with anything but a further member.
    """
    feed = memoryview(compressed)
    position = 0
    for _ in range(_MAX_MEMBERS):
        position = yield from _member(feed, position)
        if position == len(feed):
            return
    raise Malformed(f"the gzip body has more than {_MAX_MEMBERS} members")


def _member(feed: memoryview, position: int) -> Generator[bytes, None, int]:
    """One member from ``position`` on; returns the position after it."""
    inflater = zlib.decompressobj(_GZIP)
    pending: bytes | memoryview = b""
    more_held = False  # zlib can have taken all input and still hold output for which there was no room
    while not inflater.eof:
        if not pending and not more_held:
            if position == len(feed):
                raise Malformed("the gzip body is cut short")
            pending = feed[position : position + _FEED_BYTES]
            position += len(pending)
        try:
            piece = inflater.decompress(pending, PIECE_BYTES)
        except zlib.error as error:
            raise Malformed(f"the body is not valid gzip: {error}") from None
        pending = inflater.unconsumed_tail
        more_held = len(piece) == PIECE_BYTES
        if piece:
            yield piece
    return position - len(inflater.unused_data)

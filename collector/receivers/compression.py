"""Content codings: bodies inflated in bounded steps, answers in gzip for who wants them so."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol, cast

from isal import isal_zlib

from collector.receivers.status import Malformed, UnsupportedEncoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP_MAGIC: Final = b"\x1f\x8b"

# Largest piece of output: what is held beyond the limit that the caller checks after each piece.
PIECE_BYTES: Final = 1 << 20
# Taken of the input at a time: an inflater copies whatever it leaves over at the end of a member.
_FEED_BYTES: Final = 1 << 16
# Block gzip has a member for each 65,280 bytes of content and an empty one at the end: 1,030 for 64 MiB.
_MAX_MEMBERS: Final = 1200
# RFC 9659: what a Content-Encoding of zstd may ask for is a window of 8 MiB, 2 to the power of 23.
_ZSTD_OPTIONS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}
# isal's stubs take the name of its class of errors for an instance.
_NOT_IN_THAT_CODING: Final = (cast(type[Exception], isal_zlib.error), zstd.ZstdError)
# RFC 1950, 2.2: the low half of a zlib stream's first byte says "deflate".
_ZLIB_METHOD: Final = 8


class _Inflater(Protocol):
    """One member of a body; the shape of zstd's decompressor, which bz2's and lzma's have too."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: memoryview, max_length: int) -> bytes: ...


class _Zlib:
    """zlib's decompressor in that shape; ISA-L's, which takes a third of the time."""

    def __init__(self, window_bits: int) -> None:
        self._inflater = isal_zlib.decompressobj(window_bits)
        self._tail = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    def decompress(self, data: memoryview, max_length: int) -> bytes:
        piece = self._inflater.decompress(data if self.needs_input else self._tail, max_length)
        self._tail = self._inflater.unconsumed_tail
        # It can have taken all input and still hold output for which there was no room.
        self.needs_input = not self._tail and len(piece) < max_length
        return piece


def _gzip(_body: memoryview) -> _Inflater:
    return _Zlib(isal_zlib.MAX_WBITS | 16)


def _deflate(body: memoryview) -> _Inflater:
    """The zlib format, as RFC 9110 has it (8.4.1.2), or the bare deflate stream that some send for it.

    A bare stream that begins like a zlib one would have a stored block whose padding is not zero.
    """
    is_zlib = bool(body) and body[0] & 0x0F == _ZLIB_METHOD
    return _Zlib(isal_zlib.MAX_WBITS if is_zlib else -isal_zlib.MAX_WBITS)


def _zstd(_body: memoryview) -> _Inflater:
    return zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)


@dataclass(frozen=True, slots=True)
class _Coding:
    open: Callable[[memoryview], _Inflater]
    max_members: int


_CODINGS: Final = {
    "gzip": _Coding(_gzip, _MAX_MEMBERS),
    "deflate": _Coding(_deflate, 1),
    "zstd": _Coding(_zstd, _MAX_MEMBERS),
}
# RFC 9110, 8.4.1.3: x-gzip is gzip. identity is no coding at all.
_ALIASES: Final = {"x-gzip": "gzip", "identity": ""}
SUPPORTED: Final = ", ".join(_CODINGS)


def check_supported(content_encoding: str) -> str:
    """The coding that a Content-Encoding header names, "" for none.

    Raises UnsupportedEncoding for what is not spoken here, lists of codings included.
    """
    name = content_encoding.strip().lower()
    name = _ALIASES.get(name, name)
    if name and name not in _CODINGS:
        raise UnsupportedEncoding(
            f"Content-Encoding {content_encoding[:40]!r} is not supported; send one of {SUPPORTED}, or none",
            SUPPORTED,
        )
    return name


def inflate(name: str, body: bytes) -> Iterator[bytes]:
    """The content of ``body``, which is in the coding ``name``, in pieces of at most PIECE_BYTES, none empty.

    Raises Malformed where the body is not in that coding, is cut short, or goes on after its end.
    """
    coding = _CODINGS[name]
    feed = memoryview(body)
    position = 0
    try:
        for _ in range(coding.max_members):
            position = yield from _member(coding.open(feed[position:]), feed, position)
            if position == len(feed):
                return
    except EOFError:
        raise Malformed(f"the {name} body is cut short") from None
    except _NOT_IN_THAT_CODING as error:
        raise Malformed(f"the body is not valid {name}: {error}") from None
    if coding.max_members == 1:
        raise Malformed(f"the {name} body goes on after its end")
    raise Malformed(f"the {name} body has more than {coding.max_members} members")


def _member(inflater: _Inflater, feed: memoryview, position: int) -> Generator[bytes, None, int]:
    """One member from ``position`` on; returns the position after it. Raises EOFError."""
    nothing = feed[:0]
    while not inflater.eof:
        taken = nothing
        if inflater.needs_input:
            if position == len(feed):
                raise EOFError
            taken = feed[position : position + _FEED_BYTES]
            position += len(taken)
        piece = inflater.decompress(taken, PIECE_BYTES)
        if piece:
            yield piece
    return position - len(inflater.unused_data)


_WEIGHT: Final = re.compile(r"\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?")


@lru_cache(maxsize=64)  # clients of one kind send one header
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header asks for gzip, and for nothing less (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for entry in accept_encoding.lower().split(","):
        coding, semicolon, parameter = entry.partition(";")
        weight = _WEIGHT.fullmatch(semicolon + parameter)
        weights[coding.strip()] = 0.0 if weight is None else float(weight[1] or 1)
    wanted = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return wanted > 0 and wanted >= weights.get("identity", 0.0)


def gzipped(body: bytes) -> bytes:
    """``body`` as one gzip member, always of the same bytes."""
    return _COMMON_ANSWERS.get(body) or gzip.compress(body, mtime=0)


# Of requests of which everything is accepted.
_COMMON_ANSWERS: Final = {body: gzip.compress(body, mtime=0) for body in (b"", b"{}")}

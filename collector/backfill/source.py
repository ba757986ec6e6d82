"""Bytes of one input, unpacked: a file or standard input, plain or gzip with any number of members."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import BinaryIO, Final

STDIN: Final = "-"
BLOCK: Final = 1 << 20
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW: Final = 31  # zlib's number for "a gzip header and trailer, largest window"


class UnreadableInput(ValueError):  # noqa: N818 - the name says what happened
    """The input as a whole is not something that can be read; str(e) is one sentence."""


class Source:
    """Hands out decoded blocks; damage ends the stream and is kept in ``damage``: what came before counts.

    ``consumed`` and ``size`` count bytes as they lie in the file (``size`` is None for a pipe): progress is
    measured on them. ``modified_at`` is in Unix nanoseconds, None for a pipe.
    """

    def __init__(self, stream: BinaryIO, name: str, size: int | None) -> None:
        self.name = name
        self.size = size
        self.consumed = 0
        self.modified_at: int | None = None
        self.damage: str | None = None
        self._stream = stream
        self._pending = self._read_raw()
        if self._pending.startswith(_ZSTD_MAGIC) or self._pending[4:8] == _ZSTD_MAGIC:
            raise UnreadableInput("it is compressed with zstd; unpack it first (zstd -d) or use gzip")
        self._unpacker = _Gunzip() if self._pending.startswith(_GZIP_MAGIC) else None

    @classmethod
    def open(cls, path: str) -> Source:
        """Opens ``path``, or standard input for ``-``. Raises OSError, UnreadableInput."""
        if path == STDIN:
            return cls(sys.stdin.buffer, "stdin", None)
        file = Path(path)
        stream = file.open("rb")
        try:
            status = file.stat()
            source = cls(stream, file.name, status.st_size if file.is_file() else None)
        except BaseException:
            stream.close()
            raise
        source.modified_at = status.st_mtime_ns
        return source

    def read(self) -> bytes:
        """The next block, b"" at the end."""
        while self.damage is None:
            raw, self._pending = self._pending or self._read_raw(), b""
            if self._unpacker is None:
                return raw
            block = self._unpack(self._unpacker, raw)
            if block or not raw:
                return block
        return b""

    def close(self) -> None:
        if self._stream is not sys.stdin.buffer:
            self._stream.close()

    def _read_raw(self) -> bytes:
        raw = self._stream.read(BLOCK)
        self.consumed += len(raw)
        return raw

    def _unpack(self, unpacker: _Gunzip, raw: bytes) -> bytes:
        try:
            if raw:
                # The unpacker keeps to its bound; what it has not eaten is fed again.
                block, self._pending = unpacker.feed(raw)
                return block
            unpacker.finish()
        except (zlib.error, EOFError) as error:
            self.damage = f"the gzip data is damaged or cut off at byte {self.consumed:,}: {error}"
        return b""


class _Gunzip:
    """A bounded gunzip over members; zero padding between and after members is skipped as gzip does."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._begun = False

    def feed(self, raw: bytes) -> tuple[bytes, bytes]:
        """Returns (unpacked, rest of ``raw`` that is still to be fed). Raises zlib.error."""
        if not self._begun:
            raw = raw.lstrip(b"\x00")
            if not raw:
                return b"", b""
            self._begun = True
        member = self._member
        block = member.decompress(raw, 4 * BLOCK)
        if not member.eof:
            return block, member.unconsumed_tail
        self._member, self._begun = zlib.decompressobj(_GZIP_WINDOW), False
        return block, member.unused_data

    def finish(self) -> None:
        """Raises EOFError where the last member is not complete."""
        if self._begun:
            raise EOFError("its last member has no end")

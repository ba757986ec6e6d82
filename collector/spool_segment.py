"""Writing spool segments: the blocking half of the spool, run by its one worker thread."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collector.spool_files import Position, segment_path, segments
from collector.spool_format import Record, encode_head
from collector.store.durability import sync

# IOV_MAX of Linux and macOS.
_BUFFERS_PER_WRITE: Final = 1024
# A disk that takes this much has room again; less might fit into the last free block of a full one.
_PROBE: Final = bytes(64 * 1024)
_CHECK_NAME: Final = "check"
# macOS has no fdatasync.
_sync_data = getattr(os, "fdatasync", os.fsync)


class SegmentWriter:
    """Appends groups of records to the newest segment, durable on return.

    After a write or a sync that failed, what the file holds behind ``position`` is unknown, and a second sync
    of it may report success for bytes that were dropped: that segment is closed for good, and the next write
    starts another.
    """

    def __init__(self, directory: Path, segment_bytes: int) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._fd: int | None = None
        self._number = max(segments(directory), default=0)
        self._offset = 0
        self.start_segment()

    @property
    def position(self) -> Position:
        """Durable up to here."""
        return self._number, self._offset

    def write(self, records: Sequence[Record]) -> Position:
        """Append ``records`` and return the position after them once they are on disk. Raises OSError."""
        if self._fd is None or self._offset >= self._segment_bytes:
            self.start_segment()
        buffers = [part for record in records for part in (encode_head(record), record.body)]
        self._offset = self._write_durably(buffers)
        return self.position

    def start_segment(self) -> Position:
        """Start the next segment, its name durable, and close the old. Raises OSError, nothing changed."""
        # The clock as lower bound: numbers grow even where somebody emptied the spool and kept the lake.
        number = max(self._number + 1, time.time_ns() // 1_000_000)
        fd = _create(segment_path(self._directory, number))
        self.close()
        self._fd, self._number, self._offset = fd, number, 0
        return self.position

    def probe(self) -> Position:
        """Find out on a fresh segment whether the disk takes data again. Raises OSError where it does not."""
        self.start_segment()
        self._write_durably([_PROBE])
        os.ftruncate(self._descriptor(), 0)
        return self.position

    def check(self) -> Position:
        """Find out whether the disk takes data, the open segment as it is. Raises OSError where it does not."""
        path = self._directory / _CHECK_NAME
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, [_PROBE], 0)
            _sync_data(fd)
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)
        if self._fd is not None:
            self._check_in_place(self._fd)
        return self.position

    def close(self) -> None:
        """Close the file; safe twice. The newest segment stays: its number must never be used again."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def _descriptor(self) -> int:
        if self._fd is None:
            raise OSError("no segment is open")
        return self._fd

    def _write_durably(self, buffers: list[bytes]) -> int:
        fd = self._descriptor()
        try:
            end = _write_all(fd, buffers, self._offset)
            _sync_data(fd)
            self._check_in_place(fd)
        except BaseException:
            self._abandon(fd)
            raise
        return end

    def _check_in_place(self, fd: int) -> None:
        """The loader reads by name: bytes of a file that somebody removed or moved are durable for nobody."""
        if not os.path.samestat(os.fstat(fd), segment_path(self._directory, self._number).stat()):
            raise OSError("another file is in the place of the open segment")

    def _abandon(self, fd: int) -> None:
        """Cut what was never acknowledged, as far as the disk lets us, and leave the segment for good."""
        with contextlib.suppress(OSError):
            os.ftruncate(fd, self._offset)
        self.close()
        if self._offset == 0:
            with contextlib.suppress(OSError):
                segment_path(self._directory, self._number).unlink()


def _create(path: Path) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fsync(fd)
        sync(path.parent)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


def _write_all(fd: int, buffers: list[bytes], offset: int) -> int:
    """Write ``buffers`` at ``offset`` without joining them; returns the offset after them."""
    for start in range(0, len(buffers), _BUFFERS_PER_WRITE):
        views = [memoryview(b) for b in buffers[start : start + _BUFFERS_PER_WRITE]]
        while views:
            written = os.pwritev(fd, views, offset)
            offset += written
            views = _rest(views, written)
    return offset


def _rest(views: list[memoryview], written: int) -> list[memoryview]:
    for index, view in enumerate(views):
        if written < len(view):
            return [view[written:], *views[index + 1 :]]
        written -= len(view)
    return []

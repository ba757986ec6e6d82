"""The spool's files: naming, reading, freeing, and cutting what a crash left half-written.

A segment is named by its number, which only ever grows: a position that was loaded once never comes to stand
for other bytes. The highest-numbered segment is the one being written; nothing here removes it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from collector.spool_format import FIXED, MAGIC, Record, RecordDamaged, decode_header, decode_record

Position = tuple[int, int]
"""(segment number, byte offset after a record)."""

_SUFFIX: Final = ".spool"
# Bodies are 1 KiB to some MiB: fewer system calls for small ones; large ones bypass the buffer anyway.
_READ_BUFFER: Final = 256 * 1024


class SpoolError(Exception):
    """SpoolError
    ├── SpoolFull     bounded and at its bound
    ├── SpoolFailed   the disk refused
    └── SpoolDamaged  a segment cannot be read from some offset on
    """


class SpoolFull(SpoolError):  # noqa: N818 - the name says what is the case
    """No room; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the spool is full: the loader is behind or stopped")
        self.retry_after = retry_after


class SpoolFailed(SpoolError):  # noqa: N818 - as above
    """The record is not durable: the disk refused to take it; ``retry_after`` is in seconds."""

    def __init__(self, cause: str, retry_after: float) -> None:
        super().__init__(f"the spool cannot write: {cause}")
        self.retry_after = retry_after


class SpoolDamaged(SpoolError):  # noqa: N818 - as above
    """Segment ``segment`` does not read on at ``offset``; ``resynchronise`` finds the next intact record."""

    def __init__(self, segment: int, offset: int, reason: str) -> None:
        super().__init__(f"spool segment {segment} is damaged at byte {offset}: {reason}")
        self.segment = segment
        self.offset = offset


class _Torn(Exception):  # noqa: N818 - not an error: a write that the crash cut short, never acknowledged
    pass


def segment_path(directory: Path, segment: int) -> Path:
    return directory / f"{segment:020d}{_SUFFIX}"


def segments(directory: Path) -> list[int]:
    """The numbers of the segments on disk, ascending."""
    names = (entry.name for entry in os.scandir(directory))
    return sorted(int(n.removesuffix(_SUFFIX)) for n in names if n.endswith(_SUFFIX) and n[0].isdigit())


def bytes_on_disk(directory: Path) -> int:
    """Bytes of all segments; one that vanishes meanwhile counts nothing."""
    return sum(_size(directory, segment) or 0 for segment in segments(directory))


def read_records(directory: Path, start: Position | None, end: Position) -> Iterator[tuple[Position, Record]]:
    """Records after ``start`` (None = the oldest there is) up to ``end``, each with the position after it.

    A torn tail ends its segment. Raises SpoolDamaged where bytes that were durable do not check.
    """
    first, offset = start or (0, 0)
    for segment in segments(directory):
        if first <= segment <= end[0]:
            limit = end[1] if segment == end[0] else None
            yield from _read_segment(directory, segment, offset if segment == first else 0, limit)


def resynchronise(directory: Path, segment: int, offset: int, end: Position) -> Position:
    """Where to read on after SpoolDamaged(segment, offset): the segment's next intact record, or its end."""
    data = segment_path(directory, segment).read_bytes()
    if segment == end[0]:
        data = data[: end[1]]
    found = _next_intact(data, _behind(data, offset))
    return segment, len(data) if found is None else found


def end_of_records(directory: Path) -> Position | None:
    """The end of the newest segment that holds anything; None where none does."""
    for segment in reversed(segments(directory)):
        if size := _size(directory, segment):
            return segment, size
    return None


def free(directory: Path, loaded: Position) -> int:
    """Unlink the segments that are loaded whole, never the newest one; returns how many."""
    done = [segment for segment in segments(directory)[:-1] if _is_loaded(directory, segment, loaded)]
    for segment in done:
        segment_path(directory, segment).unlink(missing_ok=True)
    return len(done)


def cut_torn_tail(directory: Path, segment: int) -> int:
    """Cut what a crash left half-written at the end of ``segment``; returns the bytes cut.

    Bytes that an intact record follows are damage, not a torn write: they stay, for the reader to report.
    """
    path = segment_path(directory, segment)
    intact = _end_of_last_intact(directory, segment)
    torn = path.stat().st_size - intact
    if torn:
        _truncate(path, intact)
    return torn


def _end_of_last_intact(directory: Path, segment: int) -> int:
    intact, start = 0, 0
    while True:
        try:
            for (_, end), _record in _read_segment(directory, segment, start, None):
                intact = end
        except SpoolDamaged as damage:
            data = segment_path(directory, segment).read_bytes()
            found = _next_intact(data, _behind(data, damage.offset))
            if found is not None:
                start = found
                continue
        return intact


def _truncate(path: Path, size: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, size)
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_loaded(directory: Path, segment: int, loaded: Position) -> bool:
    if segment != loaded[0]:
        return segment < loaded[0]
    size = _size(directory, segment)
    return size is not None and size <= loaded[1]


def _size(directory: Path, segment: int) -> int | None:
    try:
        return segment_path(directory, segment).stat().st_size
    except FileNotFoundError:
        return None


def _read_segment(
    directory: Path, segment: int, offset: int, limit: int | None
) -> Iterator[tuple[Position, Record]]:
    """Records of a segment from ``offset`` on; before a ``limit``, a durable end, nothing can be torn."""
    try:
        file = segment_path(directory, segment).open("rb", buffering=_READ_BUFFER)
    except FileNotFoundError:
        return  # freed meanwhile: it was loaded
    with file:
        file.seek(offset)
        end = os.fstat(file.fileno()).st_size if limit is None else limit
        while offset < end:
            try:
                record, size = _read_record(file, end - offset)
            except RecordDamaged as error:
                raise SpoolDamaged(segment, offset, str(error)) from error
            except _Torn as error:
                if limit is None:
                    return
                raise SpoolDamaged(segment, offset, "it ends before its durable end") from error
            offset += size
            yield (segment, offset), record


def _read_record(file: BinaryIO, available: int) -> tuple[Record, int]:
    if available < FIXED.size:
        raise _Torn
    header = decode_header(_take(file, FIXED.size))
    if header.record_size > available:
        raise _Torn
    record = decode_record(header, _take(file, header.names_size), _take(file, header.body_size))
    return record, header.record_size


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise _Torn
    return data


def _behind(data: bytes, offset: int) -> int:
    """Where to search on: behind the record at ``offset`` where its header still says how long it is.

    A body is the sender's: searched needlessly, it could pass its bytes off as a record of another tenant.
    """
    try:
        return offset + decode_header(data[offset : offset + FIXED.size]).record_size
    except (RecordDamaged, struct.error):
        return offset + 1


def _next_intact(data: bytes, offset: int) -> int | None:
    """Offset of the first intact record of ``data`` at or after ``offset``."""
    while (offset := data.find(MAGIC, offset)) >= 0:
        if _is_intact(data, offset):
            return offset
        offset += 1
    return None


def _is_intact(data: bytes, offset: int) -> bool:
    try:
        _read_record(BytesIO(data[offset:]), len(data) - offset)
    except (RecordDamaged, _Torn):
        return False
    return True

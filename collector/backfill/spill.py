"""Records of one resource too large for memory, on disk until the resource's end is known.

A resource and a scope may name their ``schemaUrl`` (and, with sorted keys, even themselves) after their
records, so no request can be put together before the end was read. The file is unlinked from the start.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

# Which scope the parts belong to, the length of the text saying where they began, the length of the parts.
_ENTRY: Final = struct.Struct("<IHQ")
# Up to here the entries stay in memory.
_IN_MEMORY: Final = 8 << 20


class Spill:
    """Append-only list of (scope number, where, bytes); read back once, in order."""

    def __init__(self, directory: Path | None) -> None:
        where = None if directory is None else str(directory)
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=where)  # noqa: SIM115

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, scope: int, where: str, parts: bytes) -> None:
        place = where.encode()
        self._file.write(_ENTRY.pack(scope, len(place), len(parts)) + place)
        self._file.write(parts)

    def __iter__(self) -> Iterator[tuple[int, str, bytes]]:
        self._file.seek(0)
        while head := self._file.read(_ENTRY.size):
            scope, place, size = _ENTRY.unpack(head)
            where = self._file.read(place).decode()
            yield scope, where, self._file.read(size)

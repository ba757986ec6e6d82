"""New Parquet files reach the disk before the catalog names them: DuckDB does not fsync what it writes.

Nor does making a directory reach it, before the directory that it stands in is synced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


class DataFiles:
    """The files under ``data/`` that are known to be durable."""

    def __init__(self, data_dir: Path) -> None:
        self._root = str(data_dir / "data")
        self._known = set(_walk(self._root))

    def sync_new(self) -> int:
        """fsync all that has come since, and the directories it stands in; how many files and directories."""
        found = set(_walk(self._root))
        new = found - self._known
        for path in new:
            sync(path)
        for folder in {os.path.dirname(path.rstrip("/")) for path in new}:  # noqa: PTH120 - hot path, strings
            sync(folder)
        self._known = found
        return len(new)


def make_directory(path: Path) -> None:
    """The directory, of mode 0700, and those it stands in, all durable; one that is there is left alone."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file of mode 0600, which is made where there is none; durable on return. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: str) -> Iterator[str]:
    """Every file, and every directory with a slash at its end."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield entry.path + "/"
                yield from _walk(entry.path)
            else:
                yield entry.path


def sync(path: str | Path) -> None:
    """Of a file its bytes, of a directory the names in it. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

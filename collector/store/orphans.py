"""Files that nobody needs: under ``data/`` those that no table names, which killed or failed commits have left, whole
or torn; and what killed queries have spilled beside it.

Whoever writes to the lake holds the writer lock from before its transaction until after it, so under that lock a file
that the catalog does not name belongs to nobody. Its age is looked at all the same: files may be prepared before the
lock is taken. Removing one of an open transaction would make its table unreadable.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collector.store.lake import SPILL, Lake
from collector.store.lock import writer_lock
from collector.store.statements import sql

# The longest transactions, of repricing everything, take minutes.
ORPHAN_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Orphans:
    """What was found: files that nothing names, old enough to be removed, their bytes; files that are named and not
    there.
    """

    files: tuple[Path, ...]
    bytes: int
    missing: tuple[str, ...]


def find(lake: Lake, min_age_seconds: float = ORPHAN_SECONDS) -> Orphans:
    """Compare the catalog with the directory. Under the writer lock, so that both are of one moment."""
    with writer_lock(lake.data_dir):
        return _find(lake, min_age_seconds)


def remove(lake: Lake, min_age_seconds: float = ORPHAN_SECONDS) -> Orphans:
    """The same, and unlink the files."""
    with writer_lock(lake.data_dir):
        found = _find(lake, min_age_seconds)
        for path in found.files:
            path.unlink(missing_ok=True)
    for folder in lake.data_dir.glob(f"{SPILL}*"):
        with suppress(OSError):  # not empty: somebody is at work in it
            folder.rmdir()
    return found


def spilled(data_dir: Path) -> Iterator[Path]:
    """What queries have spilled, or do at this moment."""
    return data_dir.glob(f"{SPILL}*/*")


def _find(lake: Lake, min_age_seconds: float) -> Orphans:
    root = (lake.data_dir / "data").resolve()
    live, scheduled = _named(lake, root)
    newest = time.time() - min_age_seconds
    files, size = [], 0
    present = set(_files(root))
    for path in sorted(present.union(spilled(lake.data_dir)) - live - scheduled):
        with suppress(FileNotFoundError):
            about = path.stat()
            if about.st_mtime <= newest:
                files.append(path)
                size += about.st_size
    missing = sorted(str(path) for path in live - present)
    return Orphans(tuple(files), size, tuple(missing))


def _named(lake: Lake, root: Path) -> tuple[set[Path], set[Path]]:
    """Files that some snapshot needs, and those that wait for their removal."""
    live: set[Path] = set()
    scheduled: set[Path] = set()
    for path, is_relative, is_scheduled in lake.connection.execute(sql("sql/named_files.sql")).fetchall():
        named = root / path if is_relative else Path(path).resolve()
        (scheduled if is_scheduled else live).add(named)
    return live, scheduled


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path

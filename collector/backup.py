"""A consistent copy of a data directory while everything runs, and a data directory made of one.

A backup is a data directory itself: `sql`, `doctor` and `erase` work on it with `--data-dir`. It holds

- `catalog.sqlite`, copied by SQLite while the writer lock is held: one state of the lake, with the spool's position;
- the Parquet files that this state names: never changed in place, so linked where the file system can, else copied;
- `spool/`: the segments as they were at that moment, so that what was acknowledged and not loaded is in it too;
- `quarantine/`, `redaction.key`, the log of erasures with its key, and the list of backups;
- `backup.json`: what there has to be, with the SHA-256 of every file and the rows and sums of the lake.

Everything is on disk, and the copy was opened and counted, before it has its name: a run that was killed leaves nothing
that looks like a backup.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from collector import erasure_log, quarantine, redaction_key
from collector.data_dir import CATALOG, SPOOL
from collector.spool_files import segment_path, segments
from collector.store import missing_records
from collector.store.durability import append_line, sync
from collector.store.lake import Lake, LakeMissing
from collector.store.lock import writer_lock
from collector.store.statements import sql

MANIFEST: Final = "backup.json"
# In the data directory: where its backups are, one JSON line each, for `erase`.
LIST: Final = "backups.jsonl"
_DATA: Final = "data"
_FORMAT: Final = 1
_SINGLE: Final = (redaction_key.FILE_NAME, erasure_log.LOG, erasure_log.KEY, LIST, missing_records.MARK)
_RELATIONS: Final = (
    *("spans", "log_records", "metric_points", "contents", "calls", "prices", "price_snapshots", "loads"),
    *("runs", "findings", "alerts"),
)
_CHUNK: Final = 1 << 20
# link() does not work: another file system, or one that has no links.
_NO_LINKS: Final = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}
Totals = dict[str, str]
"""Relation → rows, and `cost_usd`, the sum of what the calls cost; as text, exactly."""


class BackupError(Exception):
    """There is no backup, or no restored directory; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was made where."""

    path: Path
    files: int
    bytes: int
    totals: Totals

    def as_dict(self) -> dict[str, Any]:
        return {"path": str(self.path), "files": self.files, "bytes": self.bytes, "totals": self.totals}


def back_up(data_dir: Path, to: Path) -> Done:
    """Make a backup of `data_dir` at `to`, which must not exist yet or be an empty directory.

    Raises BackupError, LakeError, LockTimeout, OSError, sqlite3.Error, duckdb.Error.
    """
    if not (data_dir / CATALOG).exists():
        raise LakeMissing(f"there is no lake in {data_dir}")
    to, data_dir = to.absolute(), data_dir.absolute()
    if to.is_relative_to(data_dir):
        raise BackupError(f"a backup inside the data directory would be part of what it saves: {to}")
    done = _publish(to, lambda draft: _copy(data_dir, draft))
    _remember(data_dir, to)
    return done


def restore(backup: Path, data_dir: Path) -> Done:
    """Make the data directory `data_dir`, which must not exist yet or be empty, of a backup. As back_up."""
    manifest = _read_manifest(backup)
    return _publish(data_dir.absolute(), lambda draft: _copy_back(backup, manifest, draft))


def seal(backup: Path) -> None:
    """Write down what a backup holds now, after something was erased from it."""
    _write_manifest(backup)


def is_backup(path: Path) -> bool:
    """Whether a finished backup is there."""
    return (path / MANIFEST).is_file()


def listed(data_dir: Path) -> list[Path]:
    """Where backups of this data directory were made, oldest first."""
    try:
        lines = (data_dir / LIST).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return list(dict.fromkeys(Path(orjson.loads(line)["path"]) for line in lines if line.endswith(b"}")))


def _publish(target: Path, fill: Callable[[Path], Done]) -> Done:
    """Fill a directory beside `target`, then give it its name."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is there already, and nothing is overwritten")
    draft = target.parent / f".{target.name}.partial"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    draft.mkdir(mode=0o700)
    try:
        done = fill(draft)
        _sync_tree(draft)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync(target.parent)
    return Done(target, done.files, done.bytes, done.totals)


# --- making one -----------------------------------------------------------------------------------


def _copy(data_dir: Path, draft: Path) -> Done:
    with ExitStack() as opened:
        with writer_lock(data_dir):
            _copy_catalog(data_dir / CATALOG, draft / CATALOG)
            files = _live_files(draft / CATALOG)
            left = [name for name in files if not _link(data_dir / _DATA / name, draft / _DATA / name)]
            spool = [(path.name, *_open(opened, path)) for path in _segments(data_dir / SPOOL)]
            _copy_small(data_dir, draft)
        # The loader frees segments: who has them open can still read them.
        for name, source, size in spool:
            _write(draft / SPOOL / name, source, size)
    for name in left:
        try:
            _copy_file(data_dir / _DATA / name, draft / _DATA / name)
        except FileNotFoundError:
            raise BackupError("files were removed while they were copied; run it again") from None
    return _write_manifest(draft)


def _copy_catalog(source: Path, target: Path) -> None:
    """No DuckLake may be attached in this process: two copies of SQLite do not see each other's locks."""
    target.touch(mode=0o600)
    with closing(sqlite3.connect(source)) as catalog, closing(sqlite3.connect(target)) as copy:
        catalog.backup(copy)
        if (found := copy.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            raise BackupError(f"the catalog is damaged: {found}")


def _live_files(catalog: Path) -> list[str]:
    with closing(sqlite3.connect(catalog)) as opened:
        return [row[0] for row in opened.execute(sql("sql/backup_files.sql")).fetchall()]


def _segments(spool: Path) -> Iterator[Path]:
    if spool.is_dir():
        yield from (segment_path(spool, number) for number in segments(spool))


def _open(opened: ExitStack, path: Path) -> tuple[BinaryIO, int]:
    file = opened.enter_context(path.open("rb"))
    return file, os.fstat(file.fileno()).st_size


def _copy_small(data_dir: Path, draft: Path) -> None:
    for name in _SINGLE:
        if (data_dir / name).exists():
            _copy_file(data_dir / name, draft / name)
    for path in sorted((data_dir / quarantine.FOLDER).glob("*")):
        _copy_file(path, draft / quarantine.FOLDER / path.name)


def _write_manifest(folder: Path) -> Done:
    totals = _totals(folder)
    files = {str(path.relative_to(folder)): _facts(path) for path in _members(folder)}
    about = {
        "format": _FORMAT,
        "made_at": dt.datetime.now(dt.UTC).isoformat(),
        "totals": totals,
        "files": files,
    }
    draft = folder / f".{MANIFEST}"
    draft.write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))
    draft.chmod(0o600)
    sync(draft)
    draft.rename(folder / MANIFEST)
    sync(folder)
    return Done(folder, len(files), sum(facts["bytes"] for facts in files.values()), totals)


def _totals(folder: Path) -> Totals:
    """Of the lake in `folder`, by reading it; nothing of SQLite's bookkeeping is left there."""
    with Lake.open(folder, read_only=True) as lake:
        counts = {
            name: lake.connection.execute(f"SELECT count(*) FROM {name}").fetchall() for name in _RELATIONS
        }
        cost = lake.connection.execute("SELECT sum(cost_usd) FROM calls").fetchall()
    with closing(sqlite3.connect(folder / CATALOG)) as catalog:
        catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return {**{name: str(rows[0][0]) for name, rows in counts.items()}, "cost_usd": str(cost[0][0])}


def _members(folder: Path) -> Iterator[Path]:
    """What belongs to a backup: no locks, no bookkeeping."""
    yield folder / CATALOG
    yield from (folder / name for name in _SINGLE if (folder / name).exists())
    for name in (_DATA, SPOOL, quarantine.FOLDER):
        yield from sorted(path for path in (folder / name).rglob("*") if path.is_file())


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _remember(data_dir: Path, to: Path) -> None:
    entry = {"made_at": dt.datetime.now(dt.UTC).isoformat(), "path": str(to)}
    append_line(data_dir / LIST, orjson.dumps(entry))


# --- making a data directory of one ---------------------------------------------------------------


def _read_manifest(backup: Path) -> Mapping[str, Any]:
    try:
        manifest: dict[str, Any] = orjson.loads((backup / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise BackupError(f"{backup} is no backup: it has no {MANIFEST}") from None
    except ValueError:
        raise BackupError(f"{backup / MANIFEST} is damaged") from None
    if manifest.get("format") != _FORMAT:
        raise BackupError(f"{backup} was made by a newer program: its format is {manifest.get('format')}")
    return manifest


def _copy_back(backup: Path, manifest: Mapping[str, Any], draft: Path) -> Done:
    for name, facts in manifest["files"].items():
        source, target = backup / name, draft / name
        if not target.resolve().is_relative_to(draft.resolve()):
            raise BackupError(f"{backup / MANIFEST} names a file outside of it: {name}")
        if not source.is_file() or _facts(source) != facts:
            raise BackupError(f"{source} is not what was backed up")
        # Only what is never changed in place may be one file with the backup's.
        if not (name.startswith(f"{_DATA}/") and _link(source, target)):
            _copy_file(source, target)
    totals = _totals(draft)
    if totals != manifest["totals"]:
        raise BackupError(f"the restored lake has other totals: {totals} instead of {manifest['totals']}")
    return Done(
        draft, len(manifest["files"]), sum(one["bytes"] for one in manifest["files"].values()), totals
    )


# --- files ----------------------------------------------------------------------------------------


def _link(source: Path, target: Path) -> bool:
    """Whether `target` is the same file now."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        _write(target, file, None)


def _write(target: Path, source: BinaryIO, size: int | None) -> None:
    """`size` bytes of a file, None = all, durable."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    left = size
    with target.open("xb") as file:
        target.chmod(0o600)
        while chunk := source.read(_CHUNK if left is None else min(_CHUNK, left)):
            file.write(chunk)
            left = None if left is None else left - len(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync_tree(folder: Path) -> None:
    """Every file, and the names in every directory."""
    for where, _, names in os.walk(folder):
        for name in names:
            sync(Path(where) / name)
        sync(Path(where))

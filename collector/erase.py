"""Erase a person or a session from a data directory: every place where a value of theirs may rest.

| place | what becomes of it |
|---|---|
| spool segments | accepted before: loaded first, by the running server or a loader of our own, and removed |
| memory of the loader | nothing of before: what it held is committed by then; requests of afterwards are new data |
| the lake's relations | rows deleted in one transaction (collector/store/erase.py says which) |
| Parquet files | those with deleted rows written anew; old ones, and what killed commits left, removed |
| catalog | old snapshots expired, inlined rows flushed, statistics recomputed, vacuumed, its log cut |
| catalog.v*.sqlite | copies from before a migration: removed, the files that they name are gone |
| quarantine/ | requests that name the id or a trace of theirs, and damaged bytes that name the id: removed whole |
| recorded runs | results over a time with erased records removed; a run that began before cannot record its own after |
| backups | each is a data directory: those that this one lists and that are still there are erased in likewise |
| tmp-*/ | what DuckDB spilled and nobody has open: removed with the rest of what is older than the longest query |

The order makes a run that was killed repeatable: what says whose a record is goes last, in one transaction, and what
follows does not depend on whose the rows were.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from collector import backup, erasure_log, redaction_key
from collector.config import Config
from collector.data_dir import CATALOG, SPOOL, CannotStart, server_lock
from collector.erase_quarantine import QuarantineEraser
from collector.spool_files import cut_torn_tail, end_of_records, free, segment_path, segments
from collector.spool_segment import SegmentWriter
from collector.store.erase import Counts, Eraser, Subject, SubjectKind
from collector.store.erase_catalog import scrub
from collector.store.erase_files import FileEraser
from collector.store.lake import Lake, LakeError, check_current
from collector.store.lock import writer_lock
from collector.store.maintenance import grace_seconds
from collector.store.migrate import open_current
from collector.store.orphans import spilled
from semconv.redaction import redaction
from semconv.settings import RedactionRules

# A loader that frees no segment for so long is not getting on.
_STALLED_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.1
_COPIES: Final = "catalog.v*.sqlite*"


class EraseError(Exception):
    """The erasure is not complete; the message is one sentence, and the same command again goes on."""


@dataclass(slots=True)
class Erasure:
    """What was found and removed in one data directory; ``finished``: nothing of it is left in any file."""

    data_dir: Path
    rows: Counts = field(default_factory=dict)
    quarantined: int = 0
    catalog_copies: int = 0
    finished: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "data_dir": str(self.data_dir),
            "rows": self.rows,
            "quarantined": self.quarantined,
            "catalog_copies": self.catalog_copies,
            "finished": self.finished,
        }


def forms(config: Config, identifier: str) -> tuple[str, ...]:
    """The id as it may stand in the lake: as it came, and hashed by what the configuration and the data directory
    have keys for. Raises ConfigError."""
    found = [identifier]
    rules = config.redaction.rules(config.data_dir, b"") if config.redaction.active else None
    if rules is not None:
        found.append(str(redaction(rules).hashed(identifier)))
    # Hashes of a time when redaction was configured otherwise.
    if (config.data_dir / redaction_key.FILE_NAME).exists():
        key = redaction_key.read(config.data_dir / redaction_key.FILE_NAME)
        found.append(str(redaction(RedactionRules((), (), "hash", key)).hashed(identifier)))
    return tuple(dict.fromkeys(found))


def find(config: Config, subject: Subject) -> Erasure:
    """Count what the lake and the quarantine hold; nothing is written. Raises LakeError, also for a lake of an older
    version."""
    found = Erasure(config.data_dir)
    with Lake.open(config.data_dir, read_only=True, memory_limit=config.loader.memory_limit) as lake:
        check_current(lake)
        lake.connection.execute("USE memory")
        eraser = Eraser(lake, subject)
        found.rows = eraser.find()
        found.quarantined = len(QuarantineEraser(config, subject, eraser.traces).find())
    return found


def erase(
    config: Config, subject: Subject, identifier: str, *, now: bool, tell: Callable[[str], None]
) -> Erasure:
    """Erase, in one data directory; ``tell`` hears what is under way. Without ``now`` old files stay as long as a
    query may be reading them. Raises EraseError, LakeError, ConfigError, OSError, duckdb.Error, sqlite3.Error."""
    data_dir = config.data_dir
    if not (data_dir / CATALOG).exists():
        raise LakeError(f"there is no lake in {data_dir}")
    hashed = erasure_log.hashed_id(data_dir, subject.kind, identifier)
    done = Erasure(data_dir)

    def remove_quarantined(traces: set[tuple[str, str]]) -> None:
        done.quarantined = QuarantineEraser(config, subject, traces).remove()

    tell("loading what waits in the spool")
    drain_spool(config)
    with _lake(config) as lake:
        tell("deleting")
        with writer_lock(data_dir):
            erasure_log.note(data_dir, "begun", subject.kind, hashed)
            eraser = Eraser(lake, subject)
            # While the lake still tells whose their traces are.
            done.rows = eraser.erase(lambda: remove_quarantined(eraser.traces))
        erasure_log.note(
            data_dir, "deleted", subject.kind, hashed, rows=done.rows, quarantined=done.quarantined
        )
        tell("writing files anew")
        files = FileEraser(lake, grace_seconds(config.sql.time_limit_seconds))
        files.rewrite()
        # Where there was nothing left to delete, what an earlier run replaced is waited for, and no more.
        earlier = (
            None if any(done.rows.values()) else erasure_log.pending(data_dir).get((subject.kind, hashed))
        )
        mark = earlier or files.mark()
        erasure_log.note(data_dir, "rewritten", subject.kind, hashed, mark=mark)
        files.settle(now=now)
        done.finished = files.is_gone(mark)
    done.catalog_copies = _remove_copies(data_dir)
    _remove_spill(config)
    scrub(data_dir)
    if done.finished:
        erasure_log.note(data_dir, "finished", subject.kind, hashed)
    return done


def finish(config: Config) -> int:
    """Remove what earlier erasures had to leave for queries, as far as none can be reading it any more; how many of
    them are finished with that. No lake may be open in this process. Raises as erase."""
    waiting = erasure_log.pending(config.data_dir)
    if not waiting:
        return 0
    with _lake(config) as lake:
        files = FileEraser(lake, grace_seconds(config.sql.time_limit_seconds))
        files.settle(now=False)
        gone = [key for key, mark in waiting.items() if files.is_gone(mark)]
    scrub(config.data_dir)
    for kind, hashed in gone:
        erasure_log.note(config.data_dir, "finished", kind, hashed)
    return len(gone)


def erase_everywhere(
    config: Config,
    kind: SubjectKind,
    identifier: str,
    tenant: str | None,
    *,
    now: bool,
    tell: Callable[[str], None],
) -> list[Erasure]:
    """`erase` in the data directory of the configuration, then in each of its backups. Backups that are not where they
    were made come back without rows, not finished."""
    done: list[Erasure] = []
    for data_dir in (config.data_dir, *backup.listed(config.data_dir)):
        here = config.model_copy(update={"data_dir": data_dir})
        is_backup = backup.is_backup(data_dir)
        if done and not is_backup:
            done.append(Erasure(data_dir))
            continue
        subject = Subject(kind, forms(here, identifier), tenant)
        # Nobody queries a backup for long.
        done.append(erase(here, subject, identifier, now=now or is_backup, tell=tell))
        if is_backup:
            backup.seal(data_dir)
    return done


def drain_spool(config: Config) -> None:
    """Return when all that was accepted before is in the lake, or in the quarantine, and gone from the spool.

    A running server does it by itself within seconds; else a loader of our own does. Raises EraseError.
    """
    directory = config.data_dir / SPOOL
    if not directory.is_dir():
        return
    last = max(segments(directory), default=0)
    moved = time.monotonic()
    before: set[int] = set()
    while waiting := _with_records(directory, last):
        try:
            with server_lock(config.data_dir):
                _load_spool(config, directory)
        except CannotStart:  # it is at work
            if waiting != before:
                before, moved = waiting, time.monotonic()
        else:
            return
        if time.monotonic() - moved > _STALLED_SECONDS:
            raise EraseError("the server's loader does not get on with the spool: see otlp-collector doctor")
        time.sleep(_POLL_SECONDS)


def _with_records(directory: Path, last: int) -> set[int]:
    """Segments up to `last` that hold anything."""
    found = set()
    for segment in segments(directory):
        with suppress(FileNotFoundError):
            if segment <= last and segment_path(directory, segment).stat().st_size:
                found.add(segment)
    return found


def _load_spool(config: Config, directory: Path) -> None:
    """As a server that starts and stops; the caller holds its lock."""
    from collector.server import NOT_FOR_CHILDREN  # noqa: PLC0415 - with all that a server needs
    from collector.supervisor import LOADER  # noqa: PLC0415

    cut_torn_tail(directory, max(segments(directory)))
    end = end_of_records(directory)
    if end is None:
        return
    orders = [
        {"config": config.model_dump(mode="json", exclude=NOT_FOR_CHILDREN)},
        {"durable": end},
        {"stop": True},
    ]
    with subprocess.Popen(LOADER, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as loader:
        assert loader.stdin is not None  # noqa: S101 - asked for above
        loader.stdin.write(b"".join(orjson.dumps(order) + b"\n" for order in orders))
        loader.stdin.flush()
        # Open until it has ended: it takes the end of its input for our death.
        code = loader.wait()
    if code:
        raise EraseError(
            f"what waits in the spool cannot be loaded (exit code {code}); see otlp-collector doctor"
        )
    # The newest segment is never removed: its number must not be used again.
    SegmentWriter(directory, segment_bytes=1).close()
    free(directory, end)


def _lake(config: Config) -> Lake:
    dimensions = config.semconv_settings().dimensions
    return open_current(
        config.data_dir, dimensions, threads=config.loader.threads, memory_limit=config.loader.memory_limit
    )


def _remove_copies(data_dir: Path) -> int:
    """Copies of the catalog from before a migration hold its values, and files that they name are gone."""
    copies = [path for path in data_dir.glob(_COPIES) if path.is_file()]
    for path in copies:
        path.unlink(missing_ok=True)
    return len(copies)


def _remove_spill(config: Config) -> None:
    """What DuckDB left behind that was killed: no query writes for longer than the grace."""
    oldest = time.time() - grace_seconds(config.sql.time_limit_seconds)
    for path in spilled(config.data_dir):
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()

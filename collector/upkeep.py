"""Everything that keeps a lake small, quick and within its owner's retention, until nothing is left to do.

It goes in steps of about a second, each under the writer lock for itself; where a loader is at work it gets the lake
for as long as each step took.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from collector.config import Config
from collector.data_dir import CATALOG
from collector.erase import finish
from collector.store import orphans, retention, twins
from collector.store.lake import Lake, LakeMissing
from collector.store.lock import LOADER_LOCK, LockTimeout, file_lock
from collector.store.maintenance import Maintenance, grace_seconds
from collector.store.migrate import open_current
from collector.store.statements import sql
from collector.upkeep_state import LastRun, last_run, remember
from semconv.settings import Settings

# More of them are counted, not listed.
_EXAMPLES: Final = 20
_LONGEST_PAUSE: Final = 1.5

Twin = dict[str, str]
OnStep = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """What a run did, or with a dry run would do first."""

    rows_deleted: Counter[str] = field(default_factory=Counter)  # by relation, for their age
    twins: int = 0
    twin_examples: list[Twin] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)  # by action of Maintenance
    orphan_files: int = 0
    orphan_bytes: int = 0
    missing_files: tuple[str, ...] = ()
    before: Size | None = None
    after: Size | None = None
    steps: int = 0
    longest_step_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Size:
    """Of a lake: files that its tables consist of and their bytes, files that wait until nobody can be reading them,
    the catalog's bytes.
    """

    files: int
    bytes: int
    waiting_files: int
    catalog_bytes: int


def maintain(config: Config, on_step: OnStep = lambda _: None) -> Report:
    """Do all of it, on the lake that is there. Raises LakeError, ConfigError, duckdb.Error, OSError; the steps that
    were done stay done.
    """
    settings = config.semconv_settings()
    threads, memory = config.loader.threads, config.loader.memory_limit
    if not (config.data_dir / CATALOG).exists():
        raise LakeMissing(f"there is no lake in {config.data_dir} yet: start the server or load a file first")
    with open_current(config.data_dir, settings.dimensions, threads=threads, memory_limit=memory) as lake:
        report = Upkeep(lake, config, settings, on_step).run()
    on_step("erasures")
    finish(config)
    return report


def look(config: Config) -> Report:
    """What `maintain` would begin with; as it, and writes nothing."""
    threads, memory = config.loader.threads, config.loader.memory_limit
    with Lake.open(config.data_dir, read_only=True, threads=threads, memory_limit=memory) as lake:
        return Upkeep(lake, config, Settings(), lambda _: None).look()


class Upkeep:
    """One run on a lake open for writing, or for reading where it is dry."""

    def __init__(
        self, lake: Lake, config: Config, settings: Settings, on_step: OnStep = lambda _: None
    ) -> None:
        self._lake = lake
        self._config = config
        self._settings = settings
        self._on_step = on_step
        self._report = Report()
        self._maintenance = Maintenance(lake, grace_seconds(config.sql.time_limit_seconds))
        days = config.retention.model_dump()
        self._rules = retention.rules(days, config.timezone, dt.datetime.now(dt.UTC))

    def look(self) -> Report:
        """What `run` would begin with; writes nothing."""
        report, looker = self._report, retention.Retention(self._lake)
        started = time.monotonic()
        for rule in self._rules:
            report.rows_deleted[rule.relation] += looker.count(rule)
        for found in twins.Twins(self._lake).find():
            self._note_twins(found)
        report.done.update(self._maintenance.due())
        self._note_orphans(orphans.find(self._lake))
        report.before = report.after = self._size()
        report.seconds = time.monotonic() - started
        return report

    def run(self) -> Report:
        """Do all of it. After any exception the steps that were done stay done."""
        report, started = self._report, time.monotonic()
        report.before = self._size()
        checked_to = twins.checked_now()
        self._retain()
        self._remove_twins()
        self._maintain()
        with self._step("orphaned files"):
            self._note_orphans(orphans.remove(self._lake))
        report.after = self._size()
        report.seconds = time.monotonic() - started
        remember(self._lake.data_dir, LastRun(time.time(), checked_to))
        return report

    def _retain(self) -> None:
        keeper = retention.Retention(self._lake)
        for rule in self._rules:
            steps = keeper.steps(rule)
            while True:
                with self._step(f"retention of {rule.relation}"):
                    deleted = next(steps, None)
                if deleted is None:
                    break
                self._report.rows_deleted[rule.relation] += deleted

    def _remove_twins(self) -> None:
        before = last_run(self._lake.data_dir)
        remover: twins.TwinRemover | None = None
        self._on_step("twins")
        for found in twins.Twins(self._lake).find(before.twins_checked_to if before else twins.EVER):
            # Building calls needs much that a lake without twins never needs.
            remover = remover or twins.TwinRemover(self._lake, self._settings)
            with self._step("twins"):
                remover.remove(found)
            self._note_twins(found)

    def _maintain(self) -> None:
        while True:
            with self._step("files"):
                done = self._maintenance.step(thorough=True)
            if done is None:
                return
            self._report.done[done.action] += done.count

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        self._on_step(what)
        started = time.monotonic()
        yield
        seconds = time.monotonic() - started
        self._report.steps += 1
        self._report.longest_step_seconds = max(self._report.longest_step_seconds, seconds)
        if _loader_is_there(self._lake.data_dir):
            time.sleep(min(seconds, _LONGEST_PAUSE))

    def _note_twins(self, found: pa.Table) -> None:
        rows = found.select(["tenant", "trace_id", "span_id", "start_time", "place"]).to_pylist()
        first: dict[tuple[str, str, str], dt.datetime] = {}
        for row in rows:
            identity = (row["tenant"], row["trace_id"], row["span_id"])
            if row["place"] == 1:
                first[identity] = row["start_time"]
                continue
            self._report.twins += 1
            if len(self._report.twin_examples) < _EXAMPLES:
                kept, removed = f"{first[identity].isoformat()}Z", f"{row['start_time'].isoformat()}Z"
                names = dict(zip(("tenant", "trace_id", "span_id"), identity, strict=True))
                self._report.twin_examples.append(names | {"start_time_kept": kept, "start_time": removed})

    def _note_orphans(self, found: orphans.Orphans) -> None:
        self._report.orphan_files, self._report.orphan_bytes = len(found.files), found.bytes
        self._report.missing_files = found.missing

    def _size(self) -> Size:
        files, size, waiting = self._lake.connection.execute(sql("sql/lake_size.sql")).fetchall()[0]
        return Size(int(files), int(size), int(waiting), (self._lake.data_dir / CATALOG).stat().st_size)


def _loader_is_there(data_dir: Path) -> bool:
    try:
        with file_lock(data_dir / LOADER_LOCK, timeout_seconds=0):
            return False
    except LockTimeout:
        return True


def as_json(report: Report, *, dry_run: bool) -> dict[str, Any]:
    """The report as `maintain --json` prints it."""
    relations = ("spans", "calls", "log_records", "metric_points", "contents")
    actions = {
        "merge": "files_merged",
        "rewrite": "files_rewritten",
        "flush": "rows_flushed",
        "expire": "snapshots_expired",
        "remove": "files_removed",
    }
    return {
        "dry_run": dry_run,
        "retention": {name: report.rows_deleted[name] for name in relations},
        "twins": {"spans": report.twins, "examples": report.twin_examples},
        **{name: report.done[action] for action, name in actions.items()},
        "orphans": {"files": report.orphan_files, "bytes": report.orphan_bytes},
        "missing_files": list(report.missing_files),
        "lake": {"before": _size_as_json(report.before), "after": _size_as_json(report.after)},
        "steps": report.steps,
        "longest_step_seconds": round(report.longest_step_seconds, 3),
        "seconds": round(report.seconds, 3),
    }


def _size_as_json(size: Size | None) -> dict[str, int] | None:
    if size is None:
        return None
    return {
        "files": size.files,
        "bytes": size.bytes,
        "waiting_files": size.waiting_files,
        "catalog_bytes": size.catalog_bytes,
    }

"""Runs of analyzers: carry one out within limits, and keep what came of it in the lake's `runs`.

A run by hand and a scheduled one differ only in how their window is chosen. Scheduled runs are recorded
whatever came of them, runs by hand where they gave a result and the lake can be written: who may only read
can still run everything.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import duckdb

from analyzers import frame, registry
from analyzers.finding import Report
from analyzers.setting import BadSetting
from analyzers.shared import Shared
from analyzers.window import BadWindow, Window, naive_utc, parse_length, whole_days
from collector.cli.render import json_text
from collector.erasure_log import erased_since
from collector.store.deadline import deadline
from collector.store.durability import DataFiles
from collector.store.lake import Lake, LakeError, attach_sql
from collector.store.lock import LockTimeout, writer_lock

log = logging.getLogger(__name__)

Trigger = Literal["schedule", "catch-up", "cli"]
Status = Literal["ok", "failed", "timeout", "skipped"]
Options = Mapping[str, Any]
Wanted = tuple[registry.Analyzer, Options]
Result = TypeVar("Result")

DEFAULT_SINCE: Final = "24h"
# A commit of the loader holds the lock for a fraction of a second, a step of maintenance for about 1.5 s.
LOCK_SECONDS: Final = 10.0
# A report by session can have millions of rows; its totals and notes are kept whatever its length.
MAX_RECORDED_ROWS: Final = 10_000
# What can go wrong with recording a run that is otherwise fine.
NOT_RECORDED: Final = (LakeError, LockTimeout, OSError, duckdb.Error)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why a run takes place; ``slot`` is the aware time of its cron expression, None by hand."""

    trigger: Trigger = "cli"
    slot: dt.datetime | None = None


BY_HAND: Final = Occasion()


@dataclass(frozen=True, slots=True)
class Outcome:
    """There is a report where the status is ok, else an error; of a run that was skipped it says why."""

    status: Status
    error: str | None = None
    report: Report | None = None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `runs`; times are aware. ``window`` is None where the options define none."""

    analyzer: str
    occasion: Occasion
    settings: Options
    window: Window | None
    started_at: dt.datetime
    outcome: Outcome
    finished_at: dt.datetime = field(default_factory=_now)
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def result(self) -> dict[str, Any] | None:
        """What ``otlp-analyze --json`` prints for this run; None where it has no report."""
        if self.outcome.report is None or self.window is None:
            return None
        return {
            "analyzer": self.analyzer,
            "window": self.window.as_dict(),
            **self.outcome.report.as_dict(),
        }


def execute(
    lake: Lake,
    analyzer: registry.Analyzer,
    window: Window,
    settings: Options,
    time_limit_seconds: float,
    occasion: Occasion = BY_HAND,
) -> Run:
    """Run the analyzer on a lake opened for reading. A failure, or the end of its time, is a Run as well."""
    (run,) = execute_all(lake, [(analyzer, settings)], window, time_limit_seconds, occasion)
    return run


def execute_all(
    lake: Lake,
    wanted: Sequence[Wanted],
    window: Window,
    time_limit_seconds: float,
    occasion: Occasion = BY_HAND,
) -> list[Run]:
    """The runs of several analyzers, in this order, each within the time limit. Those of a family are carried out one
    after the other, when the first of them is due.
    """
    families: dict[str, list[Wanted]] = {}
    for one in wanted:
        families.setdefault(one[0].family or one[0].name, []).append(one)
    done = {
        run.analyzer: run
        for members in families.values()
        for run in _execute_family(lake, members, window, time_limit_seconds, occasion)
    }
    return [done[analyzer.name] for analyzer, _ in wanted]


def _execute_family(
    lake: Lake, members: Iterable[Wanted], window: Window, time_limit_seconds: float, occasion: Occasion
) -> Iterator[Run]:
    """What they share is of one moment, as all that they read. A failure ends the transaction: those after it begin
    another, and read anew.
    """
    with _one_moment(lake):
        shared = Shared()
        for analyzer, settings in members:
            started = _now()
            with deadline(lake.connection, time_limit_seconds) as expired:
                run = partial(analyzer.run, lake.connection, window, settings, shared)
                made = _attempt(run, expired)
            if isinstance(made, Outcome):
                lake.connection.rollback()
                lake.connection.begin()
                shared = Shared()
            outcome = made if isinstance(made, Outcome) else Outcome("ok", report=made)
            yield Run(analyzer.name, occasion, settings, window, started, outcome)


def settle(lake: Lake, done: Sequence[Run], now: dt.datetime, time_limit_seconds: float) -> list[Run]:
    """The runs of one window with findings in the place of their candidates, judged together (analyzers.frame)."""
    reports = {run.analyzer: run.outcome.report for run in done if run.outcome.report is not None}
    window = next((run.window for run in done if run.window is not None), None)
    if window is None or not reports:
        return list(done)
    with deadline(lake.connection, time_limit_seconds) as expired:
        settled = _attempt(lambda: _settled(lake, window, now, reports), expired)

    def outcome(name: str) -> Outcome:
        return settled if isinstance(settled, Outcome) else Outcome("ok", report=settled[name])

    return [replace(run, outcome=outcome(run.analyzer)) if run.analyzer in reports else run for run in done]


def _settled(
    lake: Lake, window: Window, now: dt.datetime, reports: Mapping[str, Report]
) -> dict[str, Report]:
    with _one_moment(lake):
        return frame.settle(lake.connection, window, now, reports)


@contextmanager
def _one_moment(lake: Lake) -> Iterator[None]:
    """All that is read is one state of the lake. Outside of a transaction it would not be, and each Arrow table that a
    statement is given would take 25 ms.
    """
    lake.connection.begin()
    try:
        yield
        # What was made for the connection alone, such as macros, stays.
        lake.connection.commit()
    except BaseException:
        lake.connection.rollback()
        raise


def _attempt(compute: Callable[[], Result], expired: threading.Event) -> Result | Outcome:
    """What it gives, or what went wrong."""
    try:
        return compute()
    except duckdb.InterruptException:
        if not expired.is_set():
            raise
        return Outcome("timeout", "the run was stopped at its time limit")
    except BadSetting as problem:
        return Outcome("failed", str(problem))
    except Exception as problem:
        # An analyzer's bug is one failed run, whatever it is.
        log.debug("analyzer failed", exc_info=True)
        return Outcome("failed", f"{type(problem).__name__}: {problem}")


def scheduled_window(options: Options, slot: dt.datetime, timezone: str) -> Window:
    """The window of a scheduled run: the 24 h before its slot, or what the options say.

    ``since``: a length of time before the slot, such as 7d; ``days``: that many calendar days, the last of
    which was over at the slot. Raises BadWindow.
    """
    since, days = options.get("since"), options.get("days")
    if since is not None and days is not None:
        raise BadWindow("give one of `since` and `days`")
    if days is not None:
        if not isinstance(days, int) or isinstance(days, bool) or days < 1:
            raise BadWindow(f"`days` is a whole number of days from 1, not {days!r}")
        return whole_days(days, slot, timezone)
    return Window(slot - parse_length(str(since or DEFAULT_SINCE)), slot, timezone)


def record(lake: Lake, done: Iterable[Run]) -> None:
    """Add the runs and their findings in one transaction. Raises NOT_RECORDED.

    The lake on which they ran is attached anew for writing and stays so: analyzers get it for reading only,
    and a second connection would load and check the extensions again (0.3 s). Of a run that began before something was
    erased nothing is kept but that it took place: it may tell of what is gone.
    """
    connection = lake.connection
    connection.execute("USE memory; DETACH lake")
    connection.execute(attach_sql(lake.data_dir, read_only=False))
    with writer_lock(lake.data_dir, LOCK_SECONDS):
        files = DataFiles(lake.data_dir)
        connection.begin()
        for run in (_untold(lake.data_dir, run) for run in done):
            connection.execute(_insert("runs", _RUN_COLUMNS), _run_row(run))
            for row in _finding_rows(run):
                connection.execute(_insert("findings", _FINDING_COLUMNS), row)
        files.sync_new()
        connection.commit()


def _untold(data_dir: Path, run: Run) -> Run:
    if not erased_since(data_dir, run.started_at):
        return run
    return replace(run, settings={}, outcome=Outcome(run.outcome.status, "something was erased meanwhile"))


_RUN_COLUMNS: Final = (
    "run_id",
    "analyzer",
    "trigger",
    "scheduled_at",
    "started_at",
    "finished_at",
    "window_start",
    "window_end",
    "status",
    "error",
    "settings",
    "result",
)
_FINDING_COLUMNS: Final = ("run_id", "finding_id", "analyzer", "title", "finding")


def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO lake.{table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})"


def _run_row(run: Run) -> list[Any]:
    result = run.result()
    return [
        run.run_id,
        run.analyzer,
        run.occasion.trigger,
        naive_utc(run.occasion.slot) if run.occasion.slot else None,
        naive_utc(run.started_at),
        naive_utc(run.finished_at),
        naive_utc(run.window.start) if run.window else None,
        naive_utc(run.window.end) if run.window else None,
        run.outcome.status,
        run.outcome.error,
        json_text(dict(run.settings)),
        json_text(_bounded(result)) if result else None,
    ]


def _finding_rows(run: Run) -> Iterator[list[str]]:
    for finding in run.outcome.report.findings if run.outcome.report else ():
        document = json_text(finding.as_dict())
        yield [run.run_id, finding.finding_id, run.analyzer, finding.title, document]


def _bounded(result: dict[str, Any]) -> dict[str, Any]:
    """The result without the rows beyond MAX_RECORDED_ROWS, which are counted instead."""
    left_out = len(result["rows"]) - MAX_RECORDED_ROWS
    if left_out <= 0:
        return result
    return result | {"rows": result["rows"][:MAX_RECORDED_ROWS], "rows_left_out": left_out}

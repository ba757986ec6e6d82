"""What keeps the lake quick under a trickle of commits: merge small files, expire snapshots, remove files.

Each step is one short transaction under the writer lock, so that it fits between two commits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from collector.store.lake import Lake
from collector.store.lock import writer_lock
from collector.store.statements import sql
from collector.store.transaction import Writer

# Opening a tiny file costs a query 0.5 ms, a commit (which looks at spans four times) 2 ms, and a merge 6 ms once.
TOO_MANY_TINY: Final = 30
_TINY_BYTES: Final = 1_000_000
# The tables' target_file_size (missing_options.sql).
_SMALL_BYTES: Final = 16_000_000
_SMALL_BYTES_OF: Final = {"calls": 4_000_000}
# Files of more rows are large, however few bytes they take; a merge writes no more. It takes 14 µs a row of spans, and
# the lock is held meanwhile: text that is the same in all rows took 465,000 of them to fill 16 MB, and more than 35 s.
_LARGE_ROWS: Final = 120_000
# Below these numbers a merge rewrites more than it saves.
_WORTH_MERGING_TINY: Final = 10
_WORTH_MERGING_SMALL: Final = 16
_WORTH_REWRITING: Final = 32
# Files of which this part is deleted are written anew; a hole in a large file waits for more of them.
_DELETED_PART: Final = 0.05
# Rows that a table may hold in the catalog: those of `loads` are short, one of `runs` can be a long report.
_WORTH_FLUSHING: Final = 500
_WORTH_FLUSHING_OF: Final = {"runs": 50}
# DuckLake's own clean-up only knows days with this catalog, which holds times as text: the grace is ours.
# It has to be longer than the longest query.
GRACE_SECONDS: Final = 3600
_AT_MOST: Final = 500
# The catalog's own tables, as DuckLake attaches them beside `lake`.
CATALOG_TABLES: Final = "__ducklake_metadata_lake"
_OVERDUE_LOOK_SECONDS: Final = 10.0
_IDLE_LOOK_SECONDS: Final = 300.0

Action = Literal["merge", "rewrite", "flush", "expire", "remove"]


@dataclass(frozen=True, slots=True)
class Files:
    """Live files of one table. Those below 1 MB and below its target size (the former included) are counted in the
    month that has most of them, for only files of one month can be merged; those with deleted rows altogether.
    `bytes_per_row` is of those that are small.
    """

    table: str
    tiny: int
    small: int
    holed: int
    bytes_per_row: float


@dataclass(frozen=True, slots=True)
class Done:
    """What a step did, to how much: files merged, rewritten or removed, rows flushed, snapshots expired."""

    action: Action
    table: str | None
    count: int


@dataclass(frozen=True, slots=True)
class _Work:
    """A statement whose rows say how much it did, in the column `counted`; `of`: how much there was to do. `before` and
    `after` stand around it in its transaction.
    """

    action: Action
    table: str | None
    statement: str
    counted: int
    of: int = 0
    before: str = ""
    after: str = ""


def grace_seconds(query_seconds: float) -> int:
    """How long readers may go on with what is replaced, where a query may run for so long: twice that, for it may have
    begun long after its transaction.
    """
    return max(GRACE_SECONDS, int(2 * query_seconds))


class Maintenance:
    """Steps for a process that writes anyway; they use its connection between its commits."""

    def __init__(self, lake: Lake, grace_seconds: int = GRACE_SECONDS) -> None:
        """`grace_seconds`: how long a reader may go on with what is replaced or deleted."""
        self._lake = lake
        self._grace_seconds = grace_seconds
        self._writer = Writer(lake)
        self._looked = self._looked_idle = time.monotonic()
        # What found nothing to do is not tried again while there is as much to do as then.
        self._fruitless: dict[tuple[str, str | None, str], int] = {}

    def step_if_due(self, *, idle: bool) -> bool:
        """One step of about 1.5 s where tiny files have become too many or, idle, where there is any work.

        Looks every 10 s for the former and every 5 minutes for the latter; whether a step was made.
        """
        now = time.monotonic()
        if idle and now - self._looked_idle >= _IDLE_LOOK_SECONDS:
            made = self.step() is not None
            if not made:
                self._looked_idle = now
            return made
        if now - self._looked < _OVERDUE_LOOK_SECONDS:
            return False
        self._looked = now
        return self._first(self._overdue(self.files())) is not None

    def step(self, *, thorough: bool = False) -> Done | None:
        """The next thing worth doing; None where there is none. `thorough`: every hole is worth it.

        What makes room comes before what only makes reading quicker, of which a busy lake always has some.
        """
        tables = self.files()
        return (
            self._first(self._overdue(tables))
            or self._first(self._expirable())
            or self._remove_files()
            or self._first(self._worthwhile(tables, thorough))
        )

    def files(self) -> list[Files]:
        """What there is to merge, per table."""
        known = " ".join(f"WHEN '{table}' THEN {size}" for table, size in _SMALL_BYTES_OF.items())
        statement = sql("sql/small_files.sql").format(
            tiny_bytes=_TINY_BYTES,
            small_bytes=f"{known} ELSE {_SMALL_BYTES}",
            small_rows=_LARGE_ROWS,
            deleted_part=_DELETED_PART,
        )
        return [Files(*row) for row in self._lake.connection.execute(statement).fetchall()]

    def due(self) -> dict[Action, int]:
        """How many files, rows and snapshots the next steps would begin with; a thorough look that writes nothing."""
        found: dict[Action, int] = {}
        for work in (*self._expirable(), *self._worthwhile(self.files(), thorough=True)):
            found[work.action] = found.get(work.action, 0) + work.of
        return found | {"remove": len(self._look("sql/deletable_files.sql"))}

    def _overdue(self, tables: list[Files]) -> Iterator[_Work]:
        return (_merge(files, _TINY_BYTES, files.tiny) for files in tables if files.tiny > TOO_MANY_TINY)

    def _expirable(self) -> Iterator[_Work]:
        if expirable := self._look("sql/expirable_snapshots.sql"):
            yield _expire([row[0] for row in expirable])

    def _worthwhile(self, tables: list[Files], thorough: bool) -> Iterator[_Work]:
        for files in tables:
            if files.holed >= (1 if thorough else _WORTH_REWRITING):
                yield _rewrite(files.table, files.holed)
            if files.tiny >= _WORTH_MERGING_TINY:
                yield _merge(files, _TINY_BYTES, files.tiny)
            if files.small >= _WORTH_MERGING_SMALL:
                yield _merge(files, _target(files.table), files.small)
        for table, rows in self._inlined():
            if rows >= _WORTH_FLUSHING_OF.get(table, _WORTH_FLUSHING):
                yield _flush(table, rows)

    def _first(self, works: Iterator[_Work]) -> Done | None:
        """Do the first that turns out to have something to do."""
        for work in works:
            key = (work.action, work.table, work.statement)
            if self._fruitless.get(key) == work.of:
                continue
            if count := self._run(work):
                return Done(work.action, work.table, count)
            self._fruitless[key] = work.of
        return None

    def _run(self, work: _Work) -> int:
        """Carry it out; how much it did."""
        connection = self._lake.connection
        with self._writer.transaction():
            connection.execute(work.before)
            rows = connection.execute(work.statement).fetchall()
            connection.execute(work.after)
        return sum(int(row[work.counted]) for row in rows)

    def _inlined(self) -> list[tuple[str, int]]:
        """Tables with rows in the catalog, and how many."""
        connection = self._lake.connection
        tables = connection.execute(sql("sql/inlined_tables.sql")).fetchall()
        counts: dict[str, int] = {}
        for table, inlined in tables:
            found = connection.execute(f"SELECT count(*) FROM {CATALOG_TABLES}.{inlined}").fetchall()
            counts[table] = counts.get(table, 0) + int(found[0][0])
        return list(counts.items())

    def _remove_files(self) -> Done | None:
        """Unlink what nothing names any more."""
        if not self._look("sql/deletable_files.sql"):
            return None
        with writer_lock(self._lake.data_dir):
            files = self._look("sql/deletable_files.sql")
            for _, path, is_relative in files:
                (self._lake.data_dir / "data" / path if is_relative else Path(path)).unlink(missing_ok=True)
            if files:
                ids = ", ".join(str(row[0]) for row in files)
                scheduled = f"{CATALOG_TABLES}.ducklake_files_scheduled_for_deletion"
                self._lake.connection.execute(f"DELETE FROM {scheduled} WHERE data_file_id IN ({ids})")
        return Done("remove", None, len(files)) if files else None

    def _look(self, statement: str) -> list[tuple[Any, ...]]:
        text = sql(statement).format(grace_seconds=self._grace_seconds, at_most=_AT_MOST)
        return self._lake.connection.execute(text).fetchall()


def _target(table: str) -> int:
    """The table's target_file_size, in bytes."""
    return _SMALL_BYTES_OF.get(table, _SMALL_BYTES)


def _merge(files: Files, largest_bytes: int, count: int) -> _Work:
    """One output file a step: that is what bounds its time. DuckLake knows bytes alone, so that a table whose rows take
    few has another target for the time of the step.
    """
    table, usual = files.table, _target(files.table)
    target = min(usual, max(1, int(files.bytes_per_row * _LARGE_ROWS)))
    statement = (
        f"CALL ducklake_merge_adjacent_files('lake', '{table}', max_compacted_files => 1,"
        f" max_file_size => {min(largest_bytes, target)})"
    )
    work = _Work("merge", table, statement, counted=2, of=count)
    if target == usual:
        return work
    return replace(work, before=_set_target(table, target), after=_set_target(table, usual))


def _set_target(table: str, target: int) -> str:
    return f"CALL lake.set_option('target_file_size', '{target}B', table_name => '{table}')"


def _rewrite(table: str, files: int) -> _Work:
    statement = f"CALL ducklake_rewrite_data_files('lake', '{table}', delete_threshold => {_DELETED_PART})"
    return _Work("rewrite", table, statement, counted=2, of=files)


def _flush(table: str, rows: int) -> _Work:
    statement = f"CALL ducklake_flush_inlined_data('lake', table_name => '{table}')"
    return _Work("flush", table, statement, counted=2, of=rows)


def _expire(versions: list[int]) -> _Work:
    """Counted, because the function's rows hold times that Python could only read with a further library."""
    statement = f"SELECT count(*) FROM ducklake_expire_snapshots('lake', versions => {versions})"
    return _Work("expire", None, statement, counted=0, of=len(versions))

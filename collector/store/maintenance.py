"""What keeps the lake quick under a trickle of commits: merge small files, expire snapshots, remove files.

Each step is one short transaction under the writer lock, so that it fits between two commits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from collector.store.durability import DataFiles
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from collector.store.statements import sql

# Opening a tiny file costs a query 0.5 ms, a commit (which looks at spans four times) 2 ms, and a merge 6 ms once.
TOO_MANY_TINY: Final = 30
_TINY_BYTES: Final = 1_000_000
# The tables' target_file_size (missing_options.sql).
_SMALL_BYTES: Final = 16_000_000
_SMALL_BYTES_OF: Final = {"calls": 4_000_000}
# Below these numbers a merge rewrites more than it saves.
_WORTH_MERGING_TINY: Final = 10
_WORTH_MERGING_SMALL: Final = 16
_WORTH_REWRITING: Final = 32
# Files of which this part is deleted are written anew; a hole in a large file waits for more of them.
_DELETED_PART: Final = 0.05
_WORTH_FLUSHING: Final = 500
# DuckLake's own clean-up only knows days with this catalog, which holds times as text: the grace is ours.
# It has to be longer than the longest query.
GRACE_SECONDS: Final = 3600
_AT_MOST: Final = 500
# The catalog's own tables, as DuckLake attaches them beside `lake`.
_CATALOG: Final = "__ducklake_metadata_lake"
_OVERDUE_LOOK_SECONDS: Final = 10.0
_IDLE_LOOK_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Files:
    """Live files of one table: below 1 MB, below its target size (the former included), and with deleted rows."""

    table: str
    tiny: int
    small: int
    holed: int


class Maintenance:
    """Steps for a process that writes anyway; they use its connection between its commits."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._files = DataFiles(lake.data_dir)
        self._looked = self._looked_idle = time.monotonic()

    def step_if_due(self, *, idle: bool) -> bool:
        """One step of about 1.5 s where tiny files have become too many or, idle, where there is any work.

        Looks every 10 s for the former and every 5 minutes for the latter; whether a step was made.
        """
        now = time.monotonic()
        if idle and now - self._looked_idle >= _IDLE_LOOK_SECONDS:
            made = self.step()
            if not made:
                self._looked_idle = now
            return made
        if now - self._looked < _OVERDUE_LOOK_SECONDS:
            return False
        self._looked = now
        return self._run(next(self._overdue(self.files()), None))

    def step(self) -> bool:
        """The next thing worth doing; whether there was any."""
        return self._run(next(self._worthwhile(), None)) or self._remove_files() > 0

    def files(self) -> list[Files]:
        """What there is to merge, per table."""
        known = " ".join(f"WHEN '{table}' THEN {size}" for table, size in _SMALL_BYTES_OF.items())
        statement = sql("sql/small_files.sql").format(
            tiny_bytes=_TINY_BYTES, small_bytes=f"{known} ELSE {_SMALL_BYTES}"
        )
        return [Files(*row) for row in self._lake.connection.execute(statement).fetchall()]

    def _overdue(self, tables: list[Files]) -> Iterator[str]:
        return (_merge(files.table, _TINY_BYTES) for files in tables if files.tiny > TOO_MANY_TINY)

    def _worthwhile(self) -> Iterator[str]:
        """Statements, the most urgent first."""
        tables = self.files()
        yield from self._overdue(tables)
        for files in tables:
            if files.holed >= _WORTH_REWRITING:
                yield _rewrite(files.table)
            if files.tiny >= _WORTH_MERGING_TINY:
                yield _merge(files.table, _TINY_BYTES)
            if files.small >= _WORTH_MERGING_SMALL:
                yield _merge(files.table, _SMALL_BYTES_OF.get(files.table, _SMALL_BYTES))
        if self._inlined_loads() >= _WORTH_FLUSHING:
            yield "CALL ducklake_flush_inlined_data('lake', table_name => 'loads')"
        if expirable := self._look("sql/expirable_snapshots.sql"):
            yield _expire([row[0] for row in expirable])

    def _run(self, statement: str | None) -> bool:
        if statement is None:
            return False
        connection = self._lake.connection
        with writer_lock(self._lake.data_dir):
            connection.begin()
            try:
                connection.execute(statement).fetchall()
                self._files.sync_new()
                connection.commit()
            except BaseException:
                with suppress(duckdb.Error):
                    connection.rollback()
                raise
        return True

    def _inlined_loads(self) -> int:
        connection = self._lake.connection
        tables = connection.execute(sql("sql/inlined_tables.sql")).fetchall()
        counts = [
            connection.execute(f"SELECT count(*) FROM {_CATALOG}.{table}").fetchall() for (table,) in tables
        ]
        return sum(int(row[0][0]) for row in counts)

    def _remove_files(self) -> int:
        """Unlink what nothing names any more; how many files."""
        with writer_lock(self._lake.data_dir):
            files = self._look("sql/deletable_files.sql")
            for _, path, is_relative in files:
                (self._lake.data_dir / "data" / path if is_relative else Path(path)).unlink(missing_ok=True)
            if files:
                ids = ", ".join(str(row[0]) for row in files)
                scheduled = f"{_CATALOG}.ducklake_files_scheduled_for_deletion"
                self._lake.connection.execute(f"DELETE FROM {scheduled} WHERE data_file_id IN ({ids})")
        return len(files)

    def _look(self, statement: str) -> list[tuple[Any, ...]]:
        text = sql(statement).format(grace_seconds=GRACE_SECONDS, at_most=_AT_MOST)
        return self._lake.connection.execute(text).fetchall()


def _merge(table: str, largest_bytes: int) -> str:
    """One output file a step: that is what bounds its time."""
    return (
        f"CALL ducklake_merge_adjacent_files('lake', '{table}', max_compacted_files => 1,"
        f" max_file_size => {largest_bytes})"
    )


def _rewrite(table: str) -> str:
    return f"CALL ducklake_rewrite_data_files('lake', '{table}', delete_threshold => {_DELETED_PART})"


def _expire(versions: list[int]) -> str:
    """Counted, because the function's rows hold times that Python could only read with a further library."""
    return f"SELECT count(*) FROM ducklake_expire_snapshots('lake', versions => {versions})"

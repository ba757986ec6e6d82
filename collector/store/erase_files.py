"""Deleted rows leave the lake's Parquet files: those are written anew without them, and the old ones removed.

Nothing here asks whose rows they were. So whatever a run that was killed had deleted already is cleared by the next
one. All of it is in steps of one short transaction under the writer lock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from collector.store import orphans
from collector.store.erase import INLINED
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from collector.store.statements import sql
from collector.store.transaction import Writer
from semconv.sqltext import literal

# Of files in a step, about a second's worth: made-up data may be small and many.
_STEP_BYTES: Final = 8_000_000
_STEP_ROWS: Final = 50_000
# The newest snapshot's number, and the highest of a file.
Mark = tuple[int, int]
_SCHEDULED: Final = "__ducklake_metadata_lake.ducklake_files_scheduled_for_deletion"


class FileEraser:
    """Steps over the files of one lake, opened for writing."""

    def __init__(self, lake: Lake, grace_seconds: int) -> None:
        """A query reads for `grace_seconds` at most."""
        self._lake = lake
        self._grace_seconds = grace_seconds
        self._connection = lake.connection
        self._root = lake.data_dir.absolute() / "data"
        self._writer = Writer(lake)

    def rewrite(self) -> int:
        """Write files anew that have deleted rows; how many."""
        written = 0
        while True:
            with self._writer.transaction():
                table, files = self._next()
                if files:
                    self._write_anew(table, files)
            if not files:
                return written
            written += len(files)

    def mark(self) -> Mark:
        """Up to where the lake has been written by now."""
        return tuple(self._look(sql("sql/erase_mark.sql"))[0])

    def settle(self, *, now: bool) -> None:
        """Forget snapshots, and remove the files that only they named, and those that nothing names.

        `now`: all of them, else those that no query can still be reading.
        """
        grace = 0 if now else self._grace_seconds
        with writer_lock(self._lake.data_dir):
            waiting = {row[0] for row in self._look(f"SELECT data_file_id FROM {_SCHEDULED}")}
            snapshots = [
                row[0] for row in self._look(sql("sql/erase_snapshots.sql").format(grace_seconds=grace))
            ]
            if snapshots:
                self._look(f"SELECT count(*) FROM ducklake_expire_snapshots('lake', versions => {snapshots})")
        # What is left of the rows in the catalog is what they are now.
        with self._writer.transaction():
            for table in INLINED:
                self._look(f"CALL ducklake_flush_inlined_data('lake', table_name => '{table}')")
        with writer_lock(self._lake.data_dir):
            self._remove_scheduled(waiting, grace)
        orphans.remove(self._lake, 0.0)

    def is_gone(self, mark: Mark) -> bool:
        """Whether nothing is left of what was replaced until then."""
        snapshot, file = mark
        statement = sql("sql/erase_left.sql").format(snapshot=snapshot, file=file)
        return not self._look(statement)[0][0]

    def _next(self) -> tuple[str, list[str]]:
        """Some files of one table with deleted rows."""
        found = self._look(sql("sql/erase_holed.sql"))
        chosen: list[str] = []
        size = rows = 0
        for table, path, file_bytes, file_rows in found:
            size, rows = size + file_bytes, rows + file_rows
            if table != found[0][0] or (chosen and (size > _STEP_BYTES or rows > _STEP_ROWS)):
                break
            chosen.append(str(self._root / path))
        return (found[0][0] if found else ""), chosen

    def _write_anew(self, table: str, files: list[str]) -> None:
        """In the order in which the rows stand there."""
        these = f"filename IN ({', '.join(map(literal, files))})"
        self._connection.execute(f"INSERT INTO lake.{table} BY NAME SELECT * FROM lake.{table} WHERE {these}")
        self._connection.execute(f"DELETE FROM lake.{table} WHERE {these}")

    def _remove_scheduled(self, waiting: set[int], grace: int) -> None:
        """Unlink what no snapshot names any more; what has been `waiting` since before has a grace of its own."""
        for number, path, is_relative, is_due in self._look(
            sql("sql/erase_scheduled.sql").format(grace_seconds=grace)
        ):
            if is_due or number not in waiting:
                (self._root / path if is_relative else Path(path)).unlink(missing_ok=True)
                self._look(f"DELETE FROM {_SCHEDULED} WHERE data_file_id = {number}")

    def _look(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

"""Deleted rows leave the lake's Parquet files: those are written anew without them, and the old ones removed.

Nothing here asks whose rows they were. So whatever a run that was killed had deleted already is cleared by the next
one. All of it is in steps of one short transaction under the writer lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import duckdb

from collector.store.durability import DataFiles
from collector.store.erase import INLINED
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from collector.store.maintenance import GRACE_SECONDS
from collector.store.statements import sql
from semconv.sqltext import literal

# Of files in a step: about a second's worth.
_STEP_BYTES: Final = 8_000_000
_SCHEDULED: Final = "__ducklake_metadata_lake.ducklake_files_scheduled_for_deletion"


class FileEraser:
    """Steps over the files of one lake, opened for writing."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._connection = lake.connection
        self._root = lake.data_dir.absolute() / "data"
        self._files = DataFiles(lake.data_dir)

    def rewrite(self) -> int:
        """Write files anew that have deleted rows; how many."""
        written = 0
        while True:
            with writer_lock(self._lake.data_dir):
                table, files = self._next()
                if not files:
                    return written
                self._write_anew(table, files)
            written += len(files)

    def settle(self, *, now: bool) -> bool:
        """Forget snapshots, and remove the files that only they named; whether all are forgotten but the newest.

        `now`: all of them, else those that no query can still be reading.
        """
        with writer_lock(self._lake.data_dir):
            before = {row[0] for row in self._look(f"SELECT data_file_id FROM {_SCHEDULED}")}
            grace = 0 if now else GRACE_SECONDS
            snapshots = [
                row[0] for row in self._look(sql("sql/erase_snapshots.sql").format(grace_seconds=grace))
            ]
            if snapshots:
                self._look(f"SELECT count(*) FROM ducklake_expire_snapshots('lake', versions => {snapshots})")
            # What is left of the rows in the catalog is what they are now.
            for table in INLINED:
                self._look(f"CALL ducklake_flush_inlined_data('lake', table_name => '{table}')")
            self._files.sync_new()
            self._remove_scheduled(set() if now else before)
            self._remove_unnamed()
            rest = self._look("SELECT count(*) FROM __ducklake_metadata_lake.ducklake_snapshot")[0][0]
        return now or rest <= 1

    def _next(self) -> tuple[str, list[str]]:
        """Some files of one table with deleted rows."""
        found = self._look(sql("sql/erase_holed.sql"))
        chosen: list[str] = []
        size = 0
        for table, path, file_bytes in found:
            if table != found[0][0] or (chosen and size + file_bytes > _STEP_BYTES):
                break
            chosen.append(str(self._root / path))
            size += file_bytes
        return (found[0][0] if found else ""), chosen

    def _write_anew(self, table: str, files: list[str]) -> None:
        """In the order in which the rows stand there."""
        these = f"filename IN ({', '.join(map(literal, files))})"
        self._connection.begin()
        try:
            self._connection.execute(
                f"INSERT INTO lake.{table} BY NAME SELECT * FROM lake.{table} WHERE {these}"
            )
            self._connection.execute(f"DELETE FROM lake.{table} WHERE {these}")
            self._files.sync_new()
            self._connection.commit()
        except BaseException:
            with suppress(duckdb.Error):
                self._connection.rollback()
            raise

    def _remove_scheduled(self, but: set[int]) -> None:
        """Unlink what no snapshot names any more, but for what has been waiting since before: that has its own time."""
        for number, path, is_relative in self._look(
            f"SELECT data_file_id, path, path_is_relative FROM {_SCHEDULED}"
        ):
            if number not in but:
                (self._root / path if is_relative else Path(path)).unlink(missing_ok=True)
                self._look(f"DELETE FROM {_SCHEDULED} WHERE data_file_id = {number}")

    def _remove_unnamed(self) -> None:
        """Unlink what killed transactions left: under the lock no other is under way."""
        known = {str(self._root / row[0]) for row in self._look(sql("sql/known_files.sql"))}
        for path in _walk(self._root):
            if path not in known:
                Path(path).unlink(missing_ok=True)

    def _look(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()


def _walk(folder: Path) -> Iterator[str]:
    for where, _, names in os.walk(folder):
        yield from (os.path.join(where, name) for name in names)  # noqa: PTH118 - as the catalog's paths are made

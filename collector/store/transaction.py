"""Transactions that write to the lake: one at a time under the writer lock, durable before they are committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import duckdb

from collector.store.durability import DataFiles
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from collector.store.new_files import NewFiles


class Writer:
    """Of one lake and its connection. Keep it for all transactions of a job: it knows which files are durable."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._files = DataFiles(lake.data_dir)
        self.new_files = NewFiles(lake)  # registered ones become the lake's with the transaction

    @contextmanager
    def transaction(self, *, dry_run: bool = False) -> Iterator[None]:
        """BEGIN, the caller's statements, fsync of each file they made, COMMIT. After a dry run, or any exception,
        nothing of it is done, and the files are gone that pyarrow wrote.
        """
        connection = self._lake.connection
        with writer_lock(self._lake.data_dir):
            connection.begin()
            try:
                yield
                if dry_run:
                    connection.rollback()
                    self.new_files.discard()
                else:
                    self._files.sync_new()
                    self.new_files.commit()
            except BaseException:
                with suppress(duckdb.Error):
                    connection.rollback()
                with suppress(OSError):
                    self.new_files.discard()
                raise

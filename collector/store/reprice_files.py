"""Calls straight out of the lake's Parquet files, and back as new ones: everything but the costs as it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.store.lake import Lake
from collector.store.new_files import Month, NewFiles, is_word, write


class CallFiles:
    """Reads files while others are priced, and writes files that no reader sees before they are registered. Close it
    with ``with``."""

    def __init__(self, lake: Lake, new_files: NewFiles) -> None:
        """`new_files` are those of the caller's transaction."""
        self._files = new_files
        self._columns = [row[0] for row in lake.connection.execute("DESCRIBE lake.calls").fetchall()]
        # One reads ahead while the other writes what was priced before.
        self._workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="reprice")
        self._writing: deque[Future[None]] = deque()
        self._paths: list[Path] = []

    def __enter__(self) -> CallFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.shutdown(cancel_futures=True)

    def read(self, live: pa.Table, columns: Sequence[str] | None = None) -> Future[pa.Table]:
        """The rows of files that are not deleted, ``live`` (file, position, node), with their node. ``columns``: all,
        in the lake's order, or these."""
        return self._workers.submit(self._read, live, list(columns or self._columns))

    def write(self, month: Month, stored: pa.Table, repriced: pa.Table) -> None:
        """Rows of ``stored``, those at ``row``, with the other columns of ``repriced`` in the place of theirs."""
        while self._writing:
            self._writing.popleft().result()
        path = self._files.path("calls", month)
        self._paths.append(path)
        self._writing.append(self._workers.submit(self._write, path, stored, repriced))

    def register(self) -> None:
        """Make them part of the table, in the caller's transaction."""
        while self._writing:
            self._writing.popleft().result()
        self._files.register("calls", self._paths, self._columns)

    def _read(self, live: pa.Table, columns: list[str]) -> pa.Table:
        files = live.column("file")
        parts = [
            _live_part(file, live.filter(pc.equal(files, file)), columns)
            for file in pc.unique(files).to_pylist()
        ]
        # The words of several files are told apart by the same numbers only after that.
        return pa.concat_tables(parts).unify_dictionaries().combine_chunks()

    def _write(self, path: Path, stored: pa.Table, repriced: pa.Table) -> None:
        repriced = repriced.take(pc.sort_indices(repriced.column("row")))
        if repriced.num_rows != stored.num_rows:
            stored = stored.take(repriced.column("row"))
        table = pa.table(
            {
                name: (repriced if name in repriced.column_names else stored).column(name)
                for name in self._columns
            }
        )
        write(path, table)


def _live_part(path: str, live: pa.Table, columns: list[str]) -> pa.Table:
    live = live.take(pc.sort_indices(live.column("position")))
    file = pq.ParquetFile(path)
    words = [field.name for field in file.schema_arrow if is_word(field)]
    file.close()
    with pq.ParquetFile(path, read_dictionary=words) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        table = file.read(columns=present, use_threads=False)
    if live.num_rows != table.num_rows:
        table = table.take(live.column("position"))
    # A dimension that was configured later.
    missing = pa.nulls(live.num_rows, pa.dictionary(pa.int32(), pa.string()))
    parts = {name: table.column(name) if name in present else missing for name in columns}
    return pa.table(parts | {"node": live.column("node")})

"""Calls straight out of the lake's Parquet files, and back as new ones: everything but the costs as it is."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.store.lake import Lake
from semconv.sqltext import literal

# Their values hardly repeat: a dictionary of them is built for nothing.
_UNIQUE: Final = frozenset({"call_id", "trace_id", "span_id", "members", "response_id", "tool_call_id"})
_PARTITIONED_BY: Final = frozenset({"year", "month"})


class CallFiles:
    """Reads files while others are priced, and writes files that no reader sees before they are registered. Close it
    with ``with``."""

    def __init__(self, lake: Lake) -> None:
        self._connection = lake.connection
        self._folder = lake.data_dir.absolute() / "data" / "main" / "calls"
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

    def write(self, month: tuple[int, int], stored: pa.Table, repriced: pa.Table) -> None:
        """Rows of ``stored``, those at ``row``, with the other columns of ``repriced`` in the place of theirs."""
        while self._writing:
            self._writing.popleft().result()
        # Named and placed as DuckLake does it: the partition is read off the path.
        path = self._folder / f"year={month[0]}" / f"month={month[1]}" / f"ducklake-{uuid.uuid4()}.parquet"
        self._paths.append(path)
        self._writing.append(self._workers.submit(self._write, path, stored, repriced))

    def register(self) -> None:
        """Make them part of the table, in the caller's transaction."""
        while self._writing:
            self._writing.popleft().result()
        # DuckLake takes a column of that name for the part of the path, and then misses the partition.
        is_path_clear = _PARTITIONED_BY.isdisjoint(self._columns)
        for path in self._paths:
            file = literal(str(path))
            if is_path_clear:
                self._connection.execute(
                    f"CALL ducklake_add_data_files('lake', 'calls', {file}, hive_partitioning => true)"
                )
            else:
                self._connection.execute(
                    f"INSERT INTO lake.calls BY NAME FROM read_parquet({file}, hive_partitioning => false)"
                )
                path.unlink()

    def discard(self) -> None:
        """Remove what was written."""
        self._workers.shutdown(cancel_futures=True)
        for path in self._paths:
            path.unlink(missing_ok=True)

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
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        words = [name for name in self._columns if _is_word(table.schema.field(name))]
        pq.write_table(
            table, path, compression="zstd", compression_level=1, use_dictionary=words, store_schema=False
        )


def _live_part(path: str, live: pa.Table, columns: list[str]) -> pa.Table:
    live = live.take(pc.sort_indices(live.column("position")))
    file = pq.ParquetFile(path)
    words = [field.name for field in file.schema_arrow if _is_word(field)]
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


def _is_word(field: pa.Field) -> bool:
    """Text that repeats: kept as a dictionary from file to file."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return bool(pa.types.is_string(kind)) and field.name not in _UNIQUE

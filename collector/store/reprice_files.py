"""Calls with new costs as Parquet files of the lake: rows out of the files they stand in, everything but the costs as
it is."""

from __future__ import annotations

import uuid
from collections import deque
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
# One is written while the next is priced; each holds all columns of its calls.
_AT_ONCE: Final = 1
_PARTITIONED_BY: Final = frozenset({"year", "month"})
_OLD_FILE: Final = "file"
_POSITION: Final = "position"


class CallFiles:
    """Files of calls that no reader sees before they are registered. One thread writes; close with ``with``."""

    def __init__(self, lake: Lake) -> None:
        self._connection = lake.connection
        self._folder = lake.data_dir.absolute() / "data" / "main" / "calls"
        self._columns = [row[0] for row in lake.connection.execute("DESCRIBE lake.calls").fetchall()]
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reprice")
        self._writing: deque[Future[None]] = deque()
        self._paths: list[Path] = []

    def __enter__(self) -> CallFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown()

    def write(self, month: tuple[int, int], repriced: pa.Table) -> None:
        """The calls that stand at `position` in `file`, with the other columns of `repriced` instead of their own."""
        while len(self._writing) >= _AT_ONCE:
            self._writing.popleft().result()
        # Named and placed as DuckLake does it: the partition is read off the path.
        path = self._folder / f"year={month[0]}" / f"month={month[1]}" / f"ducklake-{uuid.uuid4()}.parquet"
        self._paths.append(path)
        self._writing.append(self._writer.submit(self._write, path, repriced))

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
        self._writer.shutdown(cancel_futures=True)
        for path in self._paths:
            path.unlink(missing_ok=True)

    def _write(self, path: Path, repriced: pa.Table) -> None:
        files = repriced.column(_OLD_FILE)
        parts = [
            self._part(file, repriced.filter(pc.equal(files, file))) for file in pc.unique(files).to_pylist()
        ]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        table = pa.concat_tables(parts)
        words = [name for name in table.column_names if _is_word(table.schema.field(name))]
        pq.write_table(
            table, path, compression="zstd", compression_level=1, use_dictionary=words, store_schema=False
        )

    def _part(self, file: str, repriced: pa.Table) -> pa.Table:
        words = [field.name for field in pq.read_schema(file) if _is_word(field)]
        stored = pq.read_table(file, read_dictionary=words, partitioning=None, use_threads=False)
        repriced = repriced.take(pc.sort_indices(repriced.column(_POSITION)))
        if repriced.num_rows != stored.num_rows:
            stored = stored.take(repriced.column(_POSITION))
        return pa.table({name: self._column(name, stored, repriced) for name in self._columns})

    def _column(self, name: str, stored: pa.Table, repriced: pa.Table) -> pa.ChunkedArray:
        if name in repriced.column_names:
            return repriced.column(name)
        if name in stored.column_names:
            return stored.column(name)
        # A dimension that was configured later.
        return pa.chunked_array([pa.nulls(repriced.num_rows, pa.dictionary(pa.int32(), pa.string()))])


def _is_word(field: pa.Field) -> bool:
    """Text that repeats: kept as a dictionary from file to file."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return bool(pa.types.is_string(kind)) and field.name not in _UNIQUE

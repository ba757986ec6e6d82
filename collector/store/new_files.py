"""Rows that become Parquet files of the lake: pyarrow writes our wide rows in a third of the time of an INSERT.

Files are written where DuckLake puts its own, under the data path (the catalog names them relative to it), and
registered in the caller's transaction. Until that commits they are ours alone: no reader sees them, and after a
rollback they have to be removed here, for DuckLake only removes what it wrote itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.store.lake import Lake, LakeUnavailable
from collector.store.partitions import month_numbers
from semconv.sqltext import literal

# Text of which hardly a value repeats: a dictionary of it is built for nothing.
_UNIQUE_TEXT: Final = frozenset(
    {"call_id", "span_id", "record_hash", "response_id", "tool_call_id", "members", "attributes"}
)
_UNIQUE_TIMES: Final = frozenset({"start_unix_nano", "end_unix_nano", "time_unix_nano"})
_PARTITIONED_BY: Final = frozenset({"year", "month"})
# As DuckDB cuts files: what readers share out among threads, and skip by the times in it.
_ROW_GROUP: Final = 122_880
_DISK_IS_FULL: Final = "disk is full"

Month = tuple[int, int]


class NewFiles:
    """The new files of one transaction after the other, which ends by `commit`, or by a rollback and `discard`."""

    def __init__(self, lake: Lake) -> None:
        self._connection = lake.connection
        self._folder = lake.data_dir.absolute() / "data" / "main"
        self._required: dict[str, frozenset[str]] = {}
        self._paths: list[Path] = []

    def insert(self, table: str, rows: pa.Table, time: str) -> None:
        """As an INSERT BY NAME of `rows`, sorted by the column `time`; a file for each month.

        Raises duckdb.ConstraintException where a column that must not be NULL is.
        """
        self._check(table, rows)
        rows = rows.take(pc.sort_indices(rows.column(time)))
        paths = []
        for month, part in _by_month(rows, time):
            path = self.path(table, month)
            write(path, part)
            paths.append(path)
        self.register(table, paths, rows.column_names)

    def path(self, table: str, month: Month) -> Path:
        """Where a new file of a table goes, named and placed as by DuckLake: the partition is read off the path."""
        folder = self._folder / table / f"year={month[0]}" / f"month={month[1]}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._paths.append(folder / f"ducklake-{uuid.uuid4()}.parquet")
        return self._paths[-1]

    def register(self, table: str, paths: Iterable[Path], columns: Iterable[str]) -> None:
        """Make files with these columns part of the table, in the caller's transaction.

        Raises LakeUnavailable where the table does not have them: then no batch will fit, and none is to blame.
        """
        files = f"[{', '.join(literal(str(path)) for path in paths)}]"
        if _PARTITIONED_BY.isdisjoint(columns):
            try:
                # Another process may have added a column since; it is NULL here.
                self._connection.execute(
                    f"CALL ducklake_add_data_files('lake', {literal(table)}, {files},"
                    " allow_missing => true, hive_partitioning => true)"
                )
            except duckdb.InvalidInputException as error:
                raise LakeUnavailable(f"the lake does not take our {table}: {error}") from error
        else:
            # DuckLake takes a column of that name for the part of the path, and then misses the partition.
            self._connection.execute(
                f"INSERT INTO lake.{table} BY NAME FROM read_parquet({files}, hive_partitioning => false)"
            )
            for path in paths:
                path.unlink()

    def commit(self) -> None:
        """COMMIT the caller's transaction; from then on the files are the lake's.

        Of one that fails they stay too: it may still turn out to have been made, when the catalog's log is read again
        after a crash. Only on a full disk it cannot, and files left there would fill it further with each attempt.
        """
        try:
            self._connection.commit()
        except BaseException as error:
            if _DISK_IS_FULL not in str(error):
                self._paths.clear()
            raise
        self._paths.clear()

    def discard(self) -> None:
        """Remove what was written, after a rollback."""
        while self._paths:
            self._paths.pop().unlink(missing_ok=True)

    def _check(self, table: str, rows: pa.Table) -> None:
        """Registering a file checks no NOT NULL."""
        if table not in self._required:
            described = self._connection.execute(f"DESCRIBE lake.{table}").fetchall()
            self._required[table] = frozenset(row[0] for row in described if row[2] == "NO")
        for name in self._required[table]:
            if name not in rows.column_names or rows.column(name).null_count:
                raise duckdb.ConstraintException(f"NOT NULL constraint failed: {table}.{name}")


def write(path: Path, rows: pa.Table) -> None:
    """One Parquet file; fsync comes later (durability.py). Call it in any thread."""
    words = [field.name for field in rows.schema if _repeats(field)]
    pq.write_table(
        rows,
        path,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        compression_level=1,
        use_dictionary=words,
        store_schema=False,
    )


def is_word(field: pa.Field) -> bool:
    """Text that repeats: worth a dictionary."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return bool(pa.types.is_string(kind)) and field.name not in _UNIQUE_TEXT


def _repeats(field: pa.Field) -> bool:
    return field.name not in _UNIQUE_TEXT and field.name not in _UNIQUE_TIMES


def _by_month(rows: pa.Table, time: str) -> Iterator[tuple[Month, pa.Table]]:
    """`rows`, sorted by their time, in slices of one month."""
    start = 0
    for count in pc.value_counts(month_numbers(rows, time)).field("counts").to_pylist():
        first = rows.column(time)[start].as_py()
        yield (first.year, first.month), rows.slice(start, count)
        start += count

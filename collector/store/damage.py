"""Data files that cannot be read any more: found, named, and put aside so that everything else can be read.

One damaged file fails every query that comes near it, also those by which a load finds out what is stored already.
Put aside, it lies in the quarantine whole, with its reason, and the lake reads on without its rows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from collector import quarantine
from collector.store import missing_records
from collector.store.lake import Lake, LakeError
from collector.store.lock import writer_lock
from collector.store.statements import sql
from semconv.sqltext import literal

# Without its version a lake does not open, and without its prices it costs nothing rightly: these come from a backup.
_INDISPENSABLE: Final = ("schema_migrations", "prices", "price_snapshots")
_RECORDS: Final = ("spans", "log_records")
_NAMED: Final = re.compile(r"[^\s'\"]+\.parquet")
_MEMORY: Final = "256MB"
# So long somebody who waits for an answer waits for the name of a damaged file that DuckDB does not tell.
SEARCH_SECONDS: Final = 10.0
# Behind these DuckDB quotes what it read.
_QUOTED: Final = re.compile(r" Input: | value \"")


class LakeDamaged(LakeError):  # noqa: N818 - the name says what is the case
    """A data file cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of the lake as its catalog knows it; `path` is below the data folder, or absolute."""

    number: int
    table: str
    path: str
    deletes_path: str | None
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file; a missing one may be on a disk that is not there for the moment."""

    file: DataFile
    reason: str
    is_missing: bool = False

    def __str__(self) -> str:
        return (
            f"data file {self.file.path} of {self.file.table} ({self.file.rows} rows)"
            f" {'is missing' if self.is_missing else f'is damaged: {self.reason}'}"
        )

    @property
    def advice(self) -> str:
        """The same, and what can be done about it."""
        return f"{self}; otlp-collector doctor --repair puts it aside, so that all else can be read"


def data_files(connection: duckdb.DuckDBPyConnection) -> list[DataFile]:
    """What the lake reads now, newest first."""
    return [DataFile(*row) for row in connection.execute(sql("sql/data_files.sql")).fetchall()]


def may_come_of_damage(error: BaseException) -> bool:
    """Whether reading a damaged file may have caused it: DuckDB has no class of its own for that, and Thrift's errors
    have none at all.
    """
    return (
        type(error) is duckdb.Error
        or isinstance(error, UnicodeDecodeError)
        or (isinstance(error, duckdb.Error) and ("parquet" in str(error).lower() or "unicode" in str(error)))
    )


def find(lake: Lake, error: BaseException, seconds: float | None = None) -> Damage | None:
    """The damaged file that caused `error`: the one it names, or else the first among all that does not read.

    Gives up after so many seconds.
    """
    if not may_come_of_damage(error):
        return None
    try:
        files = data_files(lake.connection)
    except duckdb.Error:
        return None  # it is the catalog that cannot be read
    named = {Path(name).name for name in _NAMED.findall(str(error))}
    suspects = [file for file in files if Path(file.path).name in named]
    if named and not suspects:
        return None  # a file that was being written
    return next(damaged(lake.data_dir, suspects or files, seconds), None)


def damaged(data_dir: Path, files: list[DataFile], seconds: float | None = None) -> Iterator[Damage]:
    """Those of the files that do not read from end to end, as far as one gets in so many seconds."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with duckdb.connect(config={"threads": 1, "memory_limit": _MEMORY}) as connection:
        # Read from the disk, whatever was read from there before.
        connection.execute("SET enable_external_file_cache = false")
        for file in files:
            if deadline is not None and time.monotonic() > deadline:
                return
            damage = _damage_of(data_dir / "data", file, connection)
            if damage is not None:
                yield damage


def put_aside(lake: Lake, damage: Damage) -> quarantine.Entry | None:
    """Take a damaged file out of the lake, under the writer lock, and keep it in the quarantine; the entry, None where
    there is no file to keep. Raises LakeDamaged for a file that no lake can be without, OSError, duckdb.Error.
    """
    file = damage.file
    if file.table in _INDISPENSABLE:
        raise LakeDamaged(f"{damage}; the lake cannot do without it: restore it from a backup")
    path = lake.data_dir / "data" / file.path
    entry = None
    with writer_lock(lake.data_dir):
        if not damage.is_missing:
            about = {"table": file.table, "path": file.path, "rows": file.rows}
            entry = quarantine.put_file(lake.data_dir, path, str(damage), about)
        if file.table in _RECORDS:
            missing_records.note(lake.data_dir)
        _end(lake.connection, file)
    path.unlink(missing_ok=True)
    return entry


def without_quotes(message: str) -> str:
    """The first line of DuckDB's message, as far as it says nothing of what it read."""
    return _QUOTED.split(message.partition("\n")[0])[0]


def _end(connection: duckdb.DuckDBPyConnection, file: DataFile) -> None:
    connection.begin()
    try:
        connection.execute(sql("sql/end_data_file.sql").format(data_file_id=file.number))
        connection.commit()
    except BaseException:
        with suppress(duckdb.Error):
            connection.rollback()
        raise


def _damage_of(folder: Path, file: DataFile, connection: duckdb.DuckDBPyConnection) -> Damage | None:
    for name in filter(None, (file.path, file.deletes_path)):
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            return Damage(file, error.strerror or "it is missing", is_missing=True)
        if name == file.path and size != file.bytes:
            return Damage(file, f"it has {size} bytes instead of {file.bytes}")
        try:
            rows = _rows_read(connection, path)
        except (duckdb.Error, UnicodeDecodeError) as error:
            return Damage(file, without_quotes(str(error)))
        if name == file.path and rows != file.rows:
            return Damage(file, f"it has {rows} rows instead of {file.rows}")
    return None


def _rows_read(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """How many rows there are, after every value of them was read."""
    found = connection.execute(
        f"SELECT count(*), max(hash(file)) FROM read_parquet({literal(str(path))}) AS file"
    ).fetchone()
    return int(found[0]) if found else 0

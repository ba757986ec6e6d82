"""The lake behind one class: a DuckDB connection with the DuckLake attached as `lake`.

LakeError
├── LakeMissing       no lake in this data directory yet
├── LakeTooNew        written by a newer version of this program
└── LakeUnavailable   the catalog cannot be opened or read
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Final

import duckdb

from collector.data_dir import CATALOG
from collector.store.durability import make_directory
from collector.store.extensions import Setting, connect_with_extensions
from collector.store.statements import LATEST_VERSION
from semconv.sqltext import literal

# What DuckDB spills lands in the data directory, not in the caller's working directory; each connection has a folder
# of its own, made where it is needed and removed at the end. In one folder DuckDB names the files of two connections
# alike, and both read what the other wrote: queries fail, or the process crashes.
SPILL: Final = "tmp-"


class LakeError(Exception):
    """Something about the lake itself; the message is one sentence for its owner."""


class LakeMissing(LakeError):  # noqa: N818 - the name says what is the case
    """There is no lake in this data directory yet."""


class LakeTooNew(LakeError):  # noqa: N818 - the name says what is the case
    """The lake was written by a newer version of this program."""


class LakeTooOld(LakeError):  # noqa: N818 - as above
    """What reads lacks tables of the lake until something that writes has brought it up to this program's version."""


class LakeUnavailable(LakeError):  # noqa: N818 - the name says what is the case
    """The catalog cannot be opened or read."""


class Lake:
    """One DuckDB connection with the DuckLake attached as `lake`, TimeZone UTC.

    Readers (`read_only`) have the lake as their default schema, so that ``FROM calls`` works; writers name
    ``lake.calls``, so that statements over TEMP tables alone never open the catalog.
    """

    def __init__(self, data_dir: Path, threads: int | None = None, memory_limit: str | None = None) -> None:
        self.data_dir = data_dir
        self._threads = threads
        self._memory_limit = memory_limit
        self.connection = _connect(data_dir, threads, memory_limit)

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        read_only: bool = False,
        threads: int | None = None,
        memory_limit: str | None = None,
    ) -> Lake:
        """Attach an existing lake. `memory_limit` as DuckDB writes it ("512MB"); None = DuckDB's defaults.

        Raises LakeMissing, LakeTooNew, LakeUnavailable.
        """
        if not (data_dir / CATALOG).exists():
            raise LakeMissing(f"there is no lake in {data_dir} yet: start the server or load a file first")
        lake = cls(data_dir, threads, memory_limit)
        try:
            lake._attach(read_only=read_only)
            _check(lake)
        except BaseException:
            lake.close()
            raise
        return lake

    @classmethod
    def create(cls, data_dir: Path, threads: int | None, memory_limit: str | None) -> Lake:
        """Attach for writing, laying an empty catalog where there is none; for open_current alone."""
        make_directory(data_dir / "data")
        # Created here, so that its permissions (and with it those of -wal and -shm) are ours.
        (data_dir / CATALOG).touch(mode=0o600)
        lake = cls(data_dir, threads, memory_limit)
        lake._attach(read_only=False)
        return lake

    def reopen(self) -> None:
        """Replace a writer's connection that an internal error of DuckDB has spoilt."""
        self.connection.close()
        self.connection = _connect(self.data_dir, self._threads, self._memory_limit)
        self._attach(read_only=False)

    def close(self) -> None:
        """Detach and close; safe to call twice."""
        self.connection.close()

    def __enter__(self) -> Lake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attach(self, *, read_only: bool) -> None:
        try:
            self.connection.execute(attach_sql(self.data_dir, read_only=read_only))
            if read_only:
                self.connection.execute("USE lake")
        except duckdb.Error as error:
            raise LakeUnavailable(f"the lake in {self.data_dir} cannot be opened: {error}") from error


def attach_sql(data_dir: Path, *, read_only: bool) -> str:
    """The ATTACH statement of this lake.

    WAL: without it readers and writers of a SQLite catalog block each other. Inlining off: it would write small
    inserts, text included, into the catalog. The path is overridden so that a lake can be moved or restored.
    """
    options = [
        f"DATA_PATH {literal(f'{data_dir.absolute()}/data/')}",
        "OVERRIDE_DATA_PATH true",
        "META_JOURNAL_MODE 'WAL'",
        "META_BUSY_TIMEOUT 10000",
        "DATA_INLINING_ROW_LIMIT 0",
        *(["READ_ONLY"] if read_only else []),
    ]
    catalog = literal(f"ducklake:sqlite:{data_dir.absolute() / CATALOG}")
    return f"ATTACH {catalog} AS lake ({', '.join(options)})"


def lake_version(lake: Lake) -> int:
    """The schema version of the lake; 0 where its tables are not there yet."""
    try:
        row = lake.connection.execute("SELECT max(version) FROM lake.schema_migrations").fetchone()
    except duckdb.CatalogException:
        return 0
    return int(row[0]) if row and row[0] is not None else 0


def _connect(data_dir: Path, threads: int | None, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    config: dict[str, Setting] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # A table name must never find a Python variable.
        "python_enable_replacements": False,
        "temp_directory": str(data_dir.absolute() / f"{SPILL}{os.getpid()}-{secrets.token_hex(4)}"),
    }
    if threads is not None:
        config["threads"] = threads
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    connection = connect_with_extensions(config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def check_version(data_dir: Path, version: int) -> None:
    """Raises LakeTooNew where this program does not know the lake's version."""
    if version > LATEST_VERSION:
        raise LakeTooNew(
            f"the lake in {data_dir} has schema version {version}, this program knows versions up to "
            f"{LATEST_VERSION}: install the newer program that wrote it"
        )


def check_current(lake: Lake) -> None:
    """For what reads tables that older lakes do not have. Raises LakeTooOld."""
    version = lake_version(lake)
    if version < LATEST_VERSION:
        raise LakeTooOld(
            f"the lake in {lake.data_dir} has schema version {version}, and {LATEST_VERSION} is needed: start the "
            "server, or run `otlp-collector maintain`, which bring it up to date"
        )


def _check(lake: Lake) -> None:
    try:
        version = lake_version(lake)
    except duckdb.Error as error:
        raise LakeUnavailable(f"the lake in {lake.data_dir} cannot be read: {error}") from error
    if version == 0:
        raise LakeMissing(f"the lake in {lake.data_dir} is not laid out yet: start the server or load a file")
    check_version(lake.data_dir, version)

"""Create the lake, or bring an older one to this program's version: under the writer lock."""

from __future__ import annotations

import filecmp
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from typing import Final

import duckdb

from collector.data_dir import CATALOG
from collector.store.durability import DataFiles, make_directory, sync
from collector.store.lake import Lake, LakeError, check_version, lake_version
from collector.store.lock import writer_lock
from collector.store.prices import activate_installed
from collector.store.statements import LATEST_VERSION, layout, migrations, sql
from semconv.sqltext import literal, quoted

_VIEWS: Final = ("sessions", "agents", "units")
_DIMENSION: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# The last column of `calls` in schema.sql; dimensions follow it.
_LAST_FIXED_COLUMN: Final = "notes"


def open_current(
    data_dir: Path,
    dimensions: Mapping[str, str],
    *,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> Lake:
    """The lake in `data_dir` for writing, after it was created or brought to this program's version: tables, views, a
    column of `calls` per dimension (name → attribute key), and an active price list.

    An older lake's catalog is copied aside first. Raises LakeTooNew for a newer one, LakeError for a dimension
    that cannot be a column; then nothing has changed.
    """
    make_directory(data_dir)
    with ExitStack() as undo:
        with writer_lock(data_dir):
            lake = undo.enter_context(_backed_up_if_older(data_dir, threads, memory_limit))
            connection, files = lake.connection, DataFiles(data_dir)
            connection.execute("USE lake; BEGIN")
            _apply_migrations(connection, lake_version(lake))
            _add_dimensions(connection, dimensions)
            _replace_views(connection, dimensions)
            activate_installed(connection)
            files.sync_new()
            connection.execute("COMMIT")
            _set_options(connection)
            connection.execute("USE memory")
        undo.pop_all()
    return lake


def _backed_up_if_older(data_dir: Path, threads: int | None, memory_limit: str | None) -> Lake:
    """The lake, open for writing. Raises LakeTooNew.

    It is closed while its catalog is copied: the locks of two copies of SQLite in one process do not see each other.
    """
    lake = Lake.create(data_dir, threads, memory_limit)
    try:
        version = lake_version(lake)
        check_version(data_dir, version)
    except BaseException:
        lake.close()
        raise
    if not 0 < version < LATEST_VERSION:
        return lake
    lake.close()
    back_up_catalog(data_dir, version)
    return Lake.create(data_dir, threads, memory_limit)


def back_up_catalog(data_dir: Path, version: int) -> Path:
    """A consistent copy of the catalog beside it, for going back to the older program; durable on return, and whole
    if its name is there. A migration that is tried again and again leaves one.

    Parquet files are never rewritten in place, so this copy and the data directory are the whole old lake.
    """
    partial = data_dir / f"catalog.v{version}.partial"
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    with closing(sqlite3.connect(data_dir / CATALOG)) as source, closing(sqlite3.connect(partial)) as target:
        source.backup(target)
    for copy in data_dir.glob(f"catalog.v{version}.*.sqlite"):
        if filecmp.cmp(copy, partial, shallow=False):
            partial.unlink()
            return copy
    copy = data_dir / f"catalog.v{version}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.sqlite"
    sync(partial)
    partial.rename(copy)
    sync(data_dir)
    return copy


def views_sql(dimensions: Mapping[str, str]) -> str:
    """The statements that create the views for these dimensions."""
    template = sql("sql/assigned.sql")
    parts = [
        template.format(dimension=literal(name), column=quoted(name), wanted="true") for name in dimensions
    ]
    nothing = template.format(dimension="''", column="NULL::VARCHAR", wanted="false")
    return sql("views.sql").format(assigned="\nUNION ALL\n".join(parts or [nothing]))


def _apply_migrations(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    if version == 0:
        connection.execute(layout())
        _note_version(connection, LATEST_VERSION)
        return
    for number, statements in migrations().items():
        if number > version:
            connection.execute(statements)
            _note_version(connection, number)


def _note_version(connection: duckdb.DuckDBPyConnection, number: int) -> None:
    connection.execute("INSERT INTO lake.schema_migrations VALUES (?, now() AT TIME ZONE 'UTC')", [number])


def _add_dimensions(connection: duckdb.DuckDBPyConnection, dimensions: Mapping[str, str]) -> None:
    present = [row[0] for row in connection.execute("DESCRIBE lake.calls").fetchall()]
    fixed = set(present[: present.index(_LAST_FIXED_COLUMN) + 1])
    for name in dimensions:
        if name in fixed or not _DIMENSION.fullmatch(name):
            raise LakeError(
                f"dimension {name!r} cannot be a column of calls: it needs a free name of a-z, 0-9 and _"
            )
        if name not in present:
            connection.execute(f"ALTER TABLE lake.calls ADD COLUMN {quoted(name)} VARCHAR")


def _replace_views(connection: duckdb.DuckDBPyConnection, dimensions: Mapping[str, str]) -> None:
    """Each view carries a hash of the statements that made it: a start without news changes nothing."""
    statements = views_sql(dimensions)
    mark = sha256(statements.encode()).hexdigest()[:16]
    found = connection.execute("SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'lake'")
    marks = dict(found.fetchall())
    if all(marks.get(view) == mark for view in _VIEWS):
        return
    connection.execute(statements)
    for view in _VIEWS:
        connection.execute(f"COMMENT ON VIEW lake.{view} IS {literal(mark)}")


def _set_options(connection: duckdb.DuckDBPyConnection) -> None:
    """Setting one takes 10 ms, so a start without news sets none."""
    for name, value, table in connection.execute(sql("sql/missing_options.sql")).fetchall():
        of_table = f", table_name => {literal(table)}" if table else ""
        connection.execute(f"CALL lake.set_option({literal(name)}, {literal(value)}{of_table})")

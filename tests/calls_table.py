"""A `calls` table with chosen rows, created by the schema that is shipped, for tests of what reads it."""

from __future__ import annotations

import atexit
import datetime as dt
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from collector.store.lake import Lake
from collector.store.lock import writer_lock
from collector.store.migrate import open_current
from semconv.planned import relation

_numbers = count(1)

DEFAULTS: dict[str, Any] = {
    "tenant": "",
    "members": "[]",
    "signal": "span",
    "start_time": dt.datetime(2026, 3, 10, 12, 0),
    "duration_ns": 1_000_000_000,
    "role": "llm",
    "request_model": "gpt-4o",
    "provider": "openai",
    "input_tokens": 100,
    "output_tokens": 10,
    "session_inherited": False,
    "user_inherited": False,
    "agent_inherited": False,
    "tool_inherited": False,
    "possible_duplicate": False,
    "billing_account": "openai",
    "plan_tier": "api",
    "pricing_mode": "api",
    "status_code": "UNSET",
}


def call(**columns: Any) -> dict[str, Any]:
    """One row: an ordinary call of an api account on 10 March 2026 at noon UTC, but for what is said."""
    return DEFAULTS | {"call_id": f"call-{next(_numbers)}"} | columns


def calls_table(*calls: dict[str, Any], dimensions: tuple[str, ...] = ()) -> duckdb.DuckDBPyConnection:
    """A connection with the shipped schema, its `calls` holding these rows, and a column per dimension."""
    connection = duckdb.connect(config={"threads": 1})  # they are too few to divide the work
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(resources.files("collector.store").joinpath("schema.sql").read_text())
    for dimension in dimensions:
        connection.execute(f'ALTER TABLE calls ADD COLUMN "{dimension}" VARCHAR')
    insert_calls(connection, "calls", calls)
    return connection


def lake_with_calls(data_dir: Path, *calls: dict[str, Any], dimensions: tuple[str, ...] = ()) -> Path:
    """A real lake in ``data_dir``, its `calls` holding these rows, and a column per dimension."""
    shutil.copytree(_empty_lake(dimensions), data_dir)
    with Lake.open(data_dir) as lake, writer_lock(data_dir):
        lake.connection.begin()
        insert_calls(lake.connection, "lake.calls", calls)
        lake.connection.commit()
    return data_dir


_laid: Final[dict[str, Path]] = {}


def copied_lake(data_dir: Path, *calls: dict[str, Any]) -> Path:
    """As `lake_with_calls`, for rows that each test of a file begins with: written once, and copied."""
    key = repr(calls)
    if key not in _laid:
        directory = Path(tempfile.mkdtemp(prefix="calls-lake-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        _laid[key] = lake_with_calls(directory / "data", *calls)
    shutil.copytree(_laid[key], data_dir)
    return data_dir


@cache
def _empty_lake(dimensions: tuple[str, ...]) -> Path:
    """Laying a lake out takes most of a second; copying it takes milliseconds."""
    directory = Path(tempfile.mkdtemp(prefix="empty-lake-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    open_current(directory, {name: f"app.{name}" for name in dimensions}).close()
    return directory


def insert_calls(connection: duckdb.DuckDBPyConnection, table: str, calls: Iterable[dict[str, Any]]) -> None:
    """In order, in one statement of which DuckDB plans no single value: that takes it 2 ms for each row."""
    rows = [*calls]
    if not rows:
        return
    names = dict.fromkeys(name for row in rows for name in row)
    values = pa.table({name: [row.get(name) for row in rows] for name in names})
    with relation(connection, "inserted", values):
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM inserted")


def replace_calls(connection: duckdb.DuckDBPyConnection, calls: Iterable[dict[str, Any]]) -> None:
    """These rows in the place of all, for one lake after the other."""
    connection.execute("DELETE FROM calls")
    insert_calls(connection, "calls", calls)

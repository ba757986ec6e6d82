"""A `calls` table with chosen rows, created by the schema that is shipped, for tests of what reads it."""

from __future__ import annotations

import datetime as dt
from importlib import resources
from itertools import count
from typing import Any

import duckdb

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
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(resources.files("collector.store").joinpath("schema.sql").read_text())
    add_calls(connection, *calls, dimensions=dimensions)
    return connection


def add_calls(
    connection: duckdb.DuckDBPyConnection, *calls: dict[str, Any], dimensions: tuple[str, ...] = ()
) -> None:
    for dimension in dimensions:
        connection.execute(f'ALTER TABLE calls ADD COLUMN "{dimension}" VARCHAR')
    for row in calls:
        columns = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" for _ in row)
        connection.execute(f"INSERT INTO calls ({columns}) VALUES ({marks})", list(row.values()))

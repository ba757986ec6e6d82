"""Calls with what they asked, known by its hash, for tests of what looks for calls that ask it again."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import duckdb

from collector.store.lake import Lake
from collector.store.lock import writer_lock
from tests.calls_table import call, calls_table, insert_calls, lake_with_calls, replace_calls

Row = dict[str, Any]
_numbers = count(1)
# What a call's row does not have, but its span.
OWN = ("prompt", "attributes")

CONNECTION = calls_table()


def lake(*parts: Iterable[Row]) -> duckdb.DuckDBPyConnection:
    """One connection for every lake; it holds these calls alone, each with a span, which has its prompt's hash and the
    attributes that are said."""
    rows = [row for part in parts for row in part]
    replace_calls(CONNECTION, map(_call, rows))
    CONNECTION.execute("DELETE FROM spans; DELETE FROM contents")
    insert_calls(CONNECTION, "spans", map(span, rows))
    return CONNECTION


def span(row: Row) -> Row:
    prompt = row.get("prompt")
    hashed = {
        "hash": hashlib.md5(str(prompt).encode(), usedforsecurity=False).hexdigest(),
        "bytes": 100,
        "parts": ["user"],
        "prefixes": [1],
        "ends": [100],
    }
    return {
        **{name: row[name] for name in ("tenant", "trace_id", "span_id", "start_time", "status_code")},
        **{"name": "chat", "kind": "CLIENT", "start_unix_nano": 0, "end_unix_nano": 1, "role": "llm"},
        **{
            "source": "otlp",
            "received_at": row["start_time"],
            "load_id": "1",
            "service_name": row.get("service_name"),
        },
        "evidence": None if prompt is None else json.dumps({"prompt": hashed}, separators=(",", ":")),
        "attributes": json.dumps(row.get("attributes", {})),
    }


def asked(prompt: str | None, at: dt.datetime, **columns: Any) -> Row:
    """A call of a second that cost 0.01 USD, in a session of its own."""
    number = next(_numbers)
    about = {
        "prompt": prompt,
        "start_time": at,
        "agent_name": "planner",
        "session_id": f"session-{number}",
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "cost_usd": Decimal("0.01"),
    }
    return call(**(about | columns))


def lake_with_asked(data_dir: Path, rows: Sequence[Row]) -> Path:
    """A real lake with these calls and their spans."""
    lake_with_calls(data_dir, *map(_call, rows))
    with Lake.open(data_dir) as stored, writer_lock(data_dir):
        stored.connection.begin()
        insert_calls(stored.connection, "lake.spans", map(span, rows))
        stored.connection.commit()
    return data_dir


def _call(row: Row) -> Row:
    return {name: row[name] for name in row if name not in OWN}

"""Lakes whose calls have captured prompts, for tests of what reads their words."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import duckdb
import pyarrow as pa

from semconv.planned import relation
from tests.calls_table import call, calls_table

START: Final = dt.datetime(2026, 3, 2)
# 12 words of 5 characters: nothing of it is needed. And as many that are.
FILLER: Final = " ".join(["fluff"] * 12)
NEEDED: Final = " ".join(["refund"] * 10)
_CONNECTION: Final = calls_table()
Row = dict[str, Any]


class BloatLake:
    """The rows of a lake that is being made."""

    def __init__(self) -> None:
        self.calls: list[Row] = []
        self.contents: list[Row] = []

    def call(
        self, number: object, at: dt.datetime, messages: Sequence[tuple[str, str]], **columns: Any
    ) -> None:
        """A call of 1,000 input tokens for 0.10 USD in a session of its own, with what it was sent: roles, texts."""
        about = {
            "call_id": f"call-{number}",
            "start_time": at,
            "trace_id": f"trace-{number}",
            "span_id": f"span-{number}",
            "session_id": f"session-{number}",
            "agent_name": "helper",
            "input_tokens": 1000,
            "cost_input_usd": Decimal("0.1"),
            "cost_usd": Decimal("0.11"),
        }
        self.calls.append(call(**(about | columns)))
        said = [{"role": role, "content": content} for role, content in messages]
        self.capture(number, at, "gen_ai.input.messages", json.dumps(said))

    def capture(self, number: object, at: dt.datetime, key: str, content: str) -> None:
        self.contents.append(
            {
                "tenant": "",
                "trace_id": f"trace-{number}",
                "span_id": f"span-{number}",
                "kind": "prompts",
                "key": key,
                "content": content,
                "start_time": at,
                "load_id": "1",
            }
        )

    def stored(self) -> duckdb.DuckDBPyConnection:
        """The same connection for every lake, as laying one out takes long; it holds these rows alone."""
        for name, rows in (("calls", self.calls), ("contents", self.contents)):
            _CONNECTION.execute(f"DELETE FROM {name}")
            types = _CONNECTION.execute(f"SELECT * FROM {name} LIMIT 0").to_arrow_table().schema
            fields = pa.schema([types.field(key) for key in {key: None for row in rows for key in row}])
            if rows:
                with relation(_CONNECTION, "inserted", pa.Table.from_pylist(rows, fields)):
                    _CONNECTION.execute(f"INSERT INTO {name} BY NAME SELECT * FROM inserted")
        return _CONNECTION


def prompt(fillers: int, needed: int, role: str = "system") -> tuple[str, str]:
    """A message of so many stretches that nobody needs, and then so many that are needed."""
    return role, ". ".join([FILLER] * fillers + [NEEDED] * needed)

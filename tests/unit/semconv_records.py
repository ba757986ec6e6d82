"""Spans as extraction hands them on, and a store in memory that keeps `calls` the way a real one does."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from semconv import columns
from semconv.calls import call_record_select, partner_traces_sql
from semconv.resolve import Resolver
from semconv.settings import Settings

SCHEMA = (Path(__file__).parents[2] / "collector" / "store" / "schema.sql").read_text(encoding="utf-8")
NOON = dt.datetime(2026, 11, 2, 12)
SECOND = 1_000_000_000
INSTANCE = '{"service.instance.id":"i-1"}'

Row = dict[str, Any]


def nanos(time: dt.datetime) -> int:
    return int(time.replace(tzinfo=dt.UTC).timestamp()) * SECOND


def span(span_id: str, parent: str | None = None, *, at: float = 0, took: float = 1, **given: Any) -> Row:
    """A span that starts `at` seconds after noon and takes `took` seconds; nothing of GenAI unless given."""
    start = nanos(NOON) + int(at * SECOND)
    row: Row = dict.fromkeys(columns.SPANS.names)
    row |= {
        "tenant": "",
        "trace_id": "t1",
        "span_id": span_id,
        "parent_span_id": parent,
        "name": "span",
        "kind": "INTERNAL",
        "start_time": NOON + dt.timedelta(microseconds=int(at * 1e6)),
        "start_unix_nano": start,
        "end_unix_nano": start + int(took * SECOND),
        "duration_ns": int(took * SECOND),
        "status_code": "UNSET",
        "resource_attributes": INSTANCE,
        "attributes": "{}",
        "source": "otlp",
        "received_at": NOON,
    }
    return row | given


def chat(span_id: str, parent: str | None = None, **given: Any) -> Row:
    """A chat call of gpt-4o with 100 tokens in and 10 out, reported by the library `lib`."""
    claimed: Row = {
        "dialect": "otel_genai",
        "operation": "chat",
        "provider": "openai",
        "request_model": "gpt-4o",
        "scope_name": "lib",
        "input_tokens": 100,
        "output_tokens": 10,
    }
    return span(span_id, parent, **(claimed | given))


def table(rows: list[Row], schema: pa.Schema = columns.SPANS) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def fetch(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    rows: list[Row] = connection.execute(sql).to_arrow_table().to_pylist()
    return rows


def seeded(seed: int) -> random.Random:
    """Made-up choices that are the same at every run."""
    return random.Random(seed)


def resolve(*rows: Row, settings: Settings | None = None) -> list[Row]:
    """The rows of resolved_spans for `rows`, in their order."""
    connection = duckdb.connect(config={"threads": 1})
    Resolver(connection, settings or Settings()).resolve_spans(table(list(rows)))
    resolved = {row["span_id"]: row for row in fetch(connection, "FROM resolved_spans")}
    return [resolved[row["span_id"]] for row in rows]


class Store:
    """`spans` and `calls` in memory; each commit rebuilds the calls of the traces it touches and their partners'."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute(SCHEMA)
        for name in settings.dimensions:
            self.connection.execute(f"ALTER TABLE calls ADD COLUMN {name} VARCHAR")
        self._select = call_record_select(settings.dimensions)
        self._resolver = Resolver(self.connection, settings)

    def commit(self, *rows: Row) -> None:
        run = self.connection.execute
        self._resolver.resolve_spans(table(list(rows)))
        run("INSERT INTO spans BY NAME SELECT *, 'load' AS load_id FROM resolved_spans")
        run(
            "CREATE OR REPLACE TEMP TABLE touched_traces AS SELECT DISTINCT tenant, trace_id FROM resolved_spans"
        )
        self._gather()
        while partners := run(partner_traces_sql("spans")).fetchall():
            self.connection.executemany("INSERT INTO touched_traces VALUES (?, ?)", partners)
            self._gather()
        self._resolver.build_calls()
        run("DELETE FROM calls WHERE (tenant, trace_id) IN (FROM touched_traces)")
        run("INSERT INTO calls BY NAME FROM built_calls")

    def _gather(self) -> None:
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE call_records AS SELECT {self._select}"
            " FROM spans SEMI JOIN touched_traces USING (tenant, trace_id)"
        )

    def calls(self) -> list[Row]:
        return fetch(self.connection, "FROM calls ORDER BY start_time, trace_id, span_id")


def build(*rows: Row, settings: Settings | None = None) -> list[Row]:
    """The calls of `rows`, committed at once, in order of start."""
    store = Store(settings)
    store.commit(*rows)
    return store.calls()

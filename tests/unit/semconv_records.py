"""Spans as extraction hands them on, and a store in memory that keeps `calls` the way a real one does."""

from __future__ import annotations

import datetime as dt
import random
import weakref
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from semconv import columns
from semconv.calls import (
    CALL_ID,
    RECORD_TRACE,
    REPORTS_CALL,
    log_record_select,
    partner_log_select,
    partner_span_select,
    partner_traces_sql,
    span_record_select,
)
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


def log(record_hash: str, inside: str | None = None, *, at: float = 1, **given: Any) -> Row:
    """A log record written `at` seconds after noon in no trace, or inside the span `inside` of trace t1, that tells of
    a chat call of gpt-4o with 100 tokens in and 10 out."""
    row: Row = dict.fromkeys(columns.LOG_RECORDS.names)
    row |= {
        "tenant": "",
        "record_hash": record_hash,
        "time": NOON + dt.timedelta(microseconds=int(at * 1e6)),
        "time_unix_nano": nanos(NOON) + int(at * SECOND),
        "trace_id": inside and "t1",
        "span_id": inside,
        "event_name": "api_request",
        "resource_attributes": INSTANCE,
        "attributes": "{}",
        "dialect": "otel_genai",
        "operation": "chat",
        "provider": "openai",
        "request_model": "gpt-4o",
        "scope_name": "lib.events",
        "input_tokens": 100,
        "output_tokens": 10,
        "source": "otlp",
        "received_at": NOON,
    }
    return row | given


def table(rows: list[Row], schema: pa.Schema = columns.SPANS) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def fetch(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    rows: list[Row] = connection.execute(sql).to_arrow_table().to_pylist()
    return rows


def seeded(seed: int) -> random.Random:
    """Made-up choices that are the same at every run."""
    return random.Random(seed)


class _Bench:
    """A connection and the resolver on it: to make both and to plan their statements takes half a second."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute(SCHEMA)
        for name in settings.dimensions:
            self.connection.execute(f"ALTER TABLE calls ADD COLUMN {name} VARCHAR")
        self.resolver = Resolver(self.connection, settings)

    def clear(self) -> None:
        for name in ("spans", "log_records", "calls"):
            self.connection.execute(f"DELETE FROM {name}")


# Those that nobody uses, the one used last behind.
_benches: list[_Bench] = []
_MOST_BENCHES = 4


def _take_bench(settings: Settings) -> _Bench:
    for number, bench in enumerate(_benches):
        if bench.settings == settings:
            del _benches[number]
            bench.clear()
            return bench
    return _Bench(settings)


def _put_back(bench: _Bench) -> None:
    _benches.append(bench)
    del _benches[:-_MOST_BENCHES]


def resolve(*rows: Row, settings: Settings | None = None) -> list[Row]:
    """What `rows` are resolved to, in their order."""
    bench = _take_bench(settings or Settings())
    found = bench.resolver.resolve_spans(table(list(rows))).to_pylist()
    _put_back(bench)
    resolved = {row["span_id"]: row for row in found}
    return [resolved[row["span_id"]] for row in rows]


class Store:
    """`spans`, `log_records` and `calls` in memory; each commit rebuilds the calls of the traces it touches and their
    partners'."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        bench = _take_bench(settings)
        weakref.finalize(self, _put_back, bench)
        self.connection = bench.connection
        self._resolver = bench.resolver
        self._spans = span_record_select(settings.dimensions)
        self._logs = log_record_select(settings.dimensions)

    def commit(self, *rows: Row) -> None:
        """Rows of spans and of log records, as made below."""
        run = self.connection.execute
        run("CREATE OR REPLACE TEMP TABLE touched_traces (tenant VARCHAR, trace_id VARCHAR)")
        if spans := [row for row in rows if "record_hash" not in row]:
            self.connection.register("resolved_spans", self._resolver.resolve_spans(table(spans)))
            run("INSERT INTO spans BY NAME SELECT *, 'load' AS load_id FROM resolved_spans")
            run("INSERT INTO touched_traces SELECT DISTINCT tenant, trace_id FROM resolved_spans")
        if logs := [row for row in rows if "record_hash" in row]:
            resolved = self._resolver.resolve_log_records(table(logs, columns.LOG_RECORDS))
            self.connection.register("resolved_log_records", resolved)
            run("INSERT INTO log_records BY NAME SELECT *, 'load' AS load_id FROM resolved_log_records")
            run(
                f"INSERT INTO touched_traces SELECT DISTINCT tenant, {RECORD_TRACE} FROM resolved_log_records"
                f" WHERE {REPORTS_CALL} AND (tenant, {RECORD_TRACE}) NOT IN (FROM touched_traces)"
            )
        self._gather()
        stored = (
            f"(SELECT {partner_span_select()} FROM spans"
            f" UNION ALL SELECT {partner_log_select()} FROM log_records WHERE {REPORTS_CALL})"
        )
        while partners := run(partner_traces_sql(stored, with_logs=True)).fetchall():
            self.connection.executemany("INSERT INTO touched_traces VALUES (?, ?)", partners)
            self._gather()
        self.built_calls = self._resolver.build_calls(run("FROM call_records").to_arrow_table())
        run(
            "DELETE FROM calls WHERE (tenant, trace_id) IN (FROM touched_traces)"
            f" OR call_id IN (SELECT {CALL_ID} FROM call_records WHERE signal = 'log')"
        )
        self.connection.register("built_calls", self.built_calls)
        run("INSERT INTO calls BY NAME FROM built_calls")

    def _gather(self) -> None:
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE call_records AS SELECT {self._spans}"
            " FROM spans SEMI JOIN touched_traces USING (tenant, trace_id)"
            f" UNION ALL BY NAME SELECT {self._logs} FROM log_records WHERE {REPORTS_CALL}"
            f" AND (tenant, {RECORD_TRACE}) IN (FROM touched_traces)"
        )

    def calls(self) -> list[Row]:
        return fetch(self.connection, "FROM calls ORDER BY start_time, trace_id, span_id, call_id")


def build(*rows: Row, settings: Settings | None = None) -> list[Row]:
    """The calls of `rows`, committed at once, in order of start."""
    store = Store(settings)
    store.commit(*rows)
    return store.calls()

"""Spans as extraction hands them on, and a store in memory that keeps `calls` the way a real one does."""

from __future__ import annotations

import datetime as dt
import random
import weakref
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
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
from semconv.planned import Planned, relation
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


def seeded(seed: int) -> random.Random:
    """Made-up choices that are the same at every run."""
    return random.Random(seed)


class _Bench:
    """A resolver and a store's statements: to make these and to plan them takes half a second."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute(SCHEMA)
        for name in settings.dimensions:
            self.connection.execute(f"ALTER TABLE calls ADD COLUMN {name} VARCHAR")
        self.resolver = Resolver(self.connection, settings)
        self.nothing = self.resolved([])
        self.plans = {
            name: Planned(self.connection, text) for name, text in _statements(settings.dimensions).items()
        }
        self.no_calls = self.resolver.build_calls(self.plans["all_records"].table(**self.nothing))

    def resolved(self, rows: Sequence[Row]) -> dict[str, pa.Table]:
        """Rows as a store keeps them, by the names that the statements have for them."""
        logs = [row for row in rows if "record_hash" in row]
        spans = [row for row in rows if "record_hash" not in row]
        return {
            "kept_spans": self.resolver.resolve_spans(table(spans))
            if spans or not rows
            else self.nothing["kept_spans"],
            "kept_logs": self.resolver.resolve_log_records(table(logs, columns.LOG_RECORDS))
            if logs or not rows
            else self.nothing["kept_logs"],
        }


def _statements(dimensions: Mapping[str, str]) -> dict[str, str]:
    """What semconv/calls.py asks of a store, over Arrow tables."""
    of_spans = f"SELECT {span_record_select(dimensions)} FROM kept_spans"
    of_logs = f"SELECT {log_record_select(dimensions)} FROM kept_logs WHERE {REPORTS_CALL}"
    stored = (
        f"(SELECT {partner_span_select()} FROM kept_spans"
        f" UNION ALL SELECT {partner_log_select()} FROM kept_logs WHERE {REPORTS_CALL})"
    )
    return {
        "all_records": f"{of_spans} UNION ALL BY NAME {of_logs}",
        "traces": "SELECT tenant, trace_id FROM kept_spans UNION"
        f" SELECT tenant, {RECORD_TRACE} FROM kept_logs WHERE {REPORTS_CALL}",
        "records": f"{of_spans} SEMI JOIN touched_traces USING (tenant, trace_id)"
        f" UNION ALL BY NAME {of_logs} AND (tenant, {RECORD_TRACE}) IN (FROM touched_traces)",
        "partners": partner_traces_sql(stored, with_logs=True),
        "calls": "FROM kept_calls ANTI JOIN touched_traces USING (tenant, trace_id) WHERE call_id NOT IN"
        f" (SELECT {CALL_ID} FROM call_records WHERE signal = 'log') UNION ALL BY NAME FROM built_calls",
    }


# Those that nobody uses, the one used last behind.
_benches: list[_Bench] = []
_MOST_BENCHES = 4


def _take_bench(settings: Settings) -> _Bench:
    for number, bench in enumerate(_benches):
        if bench.settings == settings:
            return _benches.pop(number)
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
        self._bench = _take_bench(settings or Settings())
        weakref.finalize(self, _put_back, self._bench)
        self._kept = self._bench.nothing
        self._calls = self._bench.no_calls

    def commit(self, *rows: Row) -> None:
        """Rows of spans and of log records, as made above."""
        plans, new = self._bench.plans, self._bench.resolved(rows)
        self._kept = {name: pa.concat_tables([kept, new[name]]) for name, kept in self._kept.items()}
        self.touched = plans["traces"].table(**new)
        while True:
            known = {"touched_traces": self.touched}
            known["call_records"] = plans["records"].table(**self._kept, **known)
            partners = plans["partners"].table(**self._kept, **known)
            if not partners.num_rows:
                break
            self.touched = pa.concat_tables([self.touched, partners])
        self.built_calls = self._bench.resolver.build_calls(known["call_records"])
        self._calls = plans["calls"].table(kept_calls=self._calls, built_calls=self.built_calls, **known)

    def calls(self) -> list[Row]:
        return _in_order(self._calls)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """What is stored now as the lake's tables, for who reads them by SQL."""
        connection = self._bench.connection
        spans, logs = self._kept["kept_spans"], self._kept["kept_logs"]
        for name, stored in {"spans": spans, "log_records": logs, "calls": self._calls}.items():
            connection.execute(f"DELETE FROM {name}")
            load = "" if name == "calls" else ", 'load' AS load_id"
            with relation(connection, "stored_now", stored):
                connection.execute(f"INSERT INTO {name} BY NAME SELECT *{load} FROM stored_now")
        return connection


def build(*rows: Row, settings: Settings | None = None) -> list[Row]:
    """The calls of `rows`, committed at once, in order of start."""
    bench = _take_bench(settings or Settings())
    records = bench.plans["all_records"].table(**bench.resolved(rows))
    calls = bench.resolver.build_calls(records)
    _put_back(bench)
    return _in_order(calls)


def in_turn_and_at_once(*senders: Sequence[Sequence[Row]]) -> tuple[list[Row], list[Row]]:
    """The calls of tenants who send their batches in turn, and those of the same rows committed at once."""
    batches = [
        [[row | {"tenant": f"tenant {number}"} for row in batch] for batch in sent]
        for number, sent in enumerate(senders)
    ]
    store = Store()
    for turn in zip_longest(*batches, fillvalue=[]):
        store.commit(*chain(*turn))
    return store.calls(), build(*chain(*chain(*batches)))


def _in_order(calls: pa.Table) -> list[Row]:
    keys = ("start_time", "trace_id", "span_id", "call_id")
    rows: list[Row] = calls.sort_by([(key, "ascending") for key in keys]).to_pylist()
    return rows

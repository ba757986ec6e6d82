"""Lakes loaded with older tables than today's, for tests of what reads them again."""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from unittest import mock

from collector.store import renormalize as renormalize_module
from collector.store.renormalize import Outcome, Renormalizer, Step
from semconv.dialects import AllTables, compile_tables
from semconv.request import Request
from semconv.settings import Signal
from tests.store_support import Store

CORPUS = Path(__file__).parent / "corpus"
RECEIVED_AT = 1_795_300_000_000_000_000
SINCE, UNTIL = dt.datetime(2020, 1, 1), dt.datetime(2030, 1, 1)
RELATIONS = ("spans", "log_records", "metric_points", "calls", "contents")


def documents(*names: str) -> list[dict[str, Any]]:
    """The named files of today's tables."""
    folder = resources.files("semconv").joinpath("dialects")
    return [tomllib.loads(folder.joinpath(f"{name}.toml").read_text("utf-8")) for name in names]


def every_table_but(*names: str) -> list[dict[str, Any]]:
    """Today's tables without some of them."""
    folder = resources.files("semconv").joinpath("dialects")
    present = [file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")]
    return documents(*(name for name in present if name not in names))


def older_tables(*further: Mapping[str, Any]) -> AllTables:
    """The general keys and the conventions alone, and what is said here."""
    return compile_tables([*documents("generic", "otel_genai"), *further])


@contextmanager
def loading_with(older: AllTables) -> Iterator[None]:
    """Extraction knows no more than these tables; reading again knows today's."""
    with mock.patch("semconv.extract.tables", lambda: older):
        yield


def captures(*libraries: str) -> list[Request]:
    """All that was captured of some libraries; a scenario is a tenant."""
    requests: list[Request] = []
    for library in libraries:
        for file in sorted((CORPUS / library).iterdir()):
            if file.suffix == ".pb":
                requests.append(_request(file, f"{library}/{file.name.split('.')[0]}", len(requests)))
    return requests


def _request(file: Path, tenant: str, number: int) -> Request:
    signal: Signal = "logs" if ".logs." in file.name else "metrics" if ".metrics." in file.name else "traces"
    return Request(signal, "protobuf", file.read_bytes(), RECEIVED_AT + number * 1000, tenant)


def steps_of(store: Store) -> Iterator[Step]:
    """The steps of an untouched lake."""
    with store.lends_resolver(renormalize_module):
        return Renormalizer(store.lake, store.settings).steps(SINCE, UNTIL)


def renormalize(
    store: Store, *, since: dt.datetime = SINCE, until: dt.datetime = UNTIL, dry_run: bool = False
) -> Outcome:
    """All steps over a stretch of time."""
    with store.lends_resolver(renormalize_module):
        renormalizer, total = Renormalizer(store.lake, store.settings), Outcome()
    for step in renormalizer.steps(since, until):
        total.add(renormalizer.take(step, dry_run=dry_run))
    return total


def everything(store: Store, *, with_load: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Every column of every row, but for what names the load; evidence, whose places have no order, as JSON."""
    return {relation: _rows(store, relation, with_load) for relation in RELATIONS}


def _rows(store: Store, relation: str, with_load: bool) -> list[dict[str, Any]]:
    exclude = "" if relation == "calls" or with_load else "EXCLUDE (load_id)"
    identity = {"spans": "tenant, trace_id, span_id", "calls": "tenant, call_id", "contents": "ALL"}
    order = identity.get(relation, "tenant, record_hash")
    # To plan a statement over all columns of a table that never held anything takes DuckLake 5 ms for each.
    if not store.lake.connection.execute(f"SELECT count(*) FROM lake.{relation}").fetchall()[0][0]:
        return []
    cursor = store.lake.connection.execute(f"SELECT * {exclude} FROM lake.{relation} ORDER BY {order}")
    names = [column[0] for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in rows:
        if row.get("evidence"):
            row["evidence"] = json.loads(row["evidence"])
    return rows

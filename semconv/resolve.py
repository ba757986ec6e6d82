"""Resolution: what the values mean that extraction took from the wire, set by set in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import duckdb
import pyarrow as pa

from semconv import columns, macros
from semconv.call_builder import CallBuilder
from semconv.settings import Settings
from semconv.sqltext import sql_text

_SOURCE: Final = "extracted_records"
# Read for resolution, not stored.
_CONSUMED: Final = {
    *("total_tokens", "stream"),
    *("resource_billing_account", "resource_plan_tier", "bound_billing_account"),
}
# Columns that resolution adds, and the column of extraction that each stands behind.
_ADDED: Final = {"dialect": ("role",), "image_input_tokens": ("token_semantics", "token_evidence")}
_DOCUMENTS: Final = {
    *("resource_attributes", "scope_attributes", "metric_metadata", "attributes"),
    *("events", "links", "evidence", "body", "buckets", "exemplars"),
}
_COUNTS: Final = tuple(name for name, _ in columns.CLAIMED if name.endswith("_tokens"))
# No context window and no batch item comes near it; sums of a few such counts still fit 64 bits.
_LARGEST_COUNT: Final = 1_000_000_000_000


class Resolver:
    """Resolves what was extracted, on any DuckDB connection, into TEMP tables; names no other database."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
        """Loads the mapping tables and the settings' accounts and plans into TEMP tables and macros."""
        self._connection = connection
        macros.install(connection, settings)
        self._call_builder = CallBuilder(connection, settings.dimensions)
        self._statements = {
            "spans": _records_sql("resolved_spans", columns.SPANS, time="start_time"),
            "log_records": _records_sql("resolved_log_records", columns.LOG_RECORDS, time="time"),
            "metric_points": _metric_points_sql(),
        }

    def resolve_spans(self, extracted: pa.Table) -> None:
        """TEMP resolved_spans: the columns of `spans` but load_id, one row per row of `extracted`."""
        self._run("spans", extracted)

    def resolve_log_records(self, extracted: pa.Table) -> None:
        """TEMP resolved_log_records: the columns of `log_records` but load_id."""
        self._run("log_records", extracted)

    def resolve_metric_points(self, extracted: pa.Table) -> None:
        """TEMP resolved_metric_points: the columns of `metric_points` but load_id."""
        self._run("metric_points", extracted)

    def build_calls(self) -> None:
        """TEMP built_calls, the columns of `calls`, from TEMP call_records (semconv/calls.py)."""
        self._call_builder.build()

    def _run(self, signal: str, extracted: pa.Table) -> None:
        self._connection.register(_SOURCE, _with_documents(extracted))
        try:
            self._connection.execute(self._statements[signal])
        finally:
            self._connection.unregister(_SOURCE)


def _records_sql(target: str, schema: pa.Schema, time: str) -> str:
    counts = [name for name in _COUNTS if name in schema.names]
    return sql_text("resolve_records.sql").format(
        target=target,
        source=_SOURCE,
        time=time,
        plausible_counts=", ".join(
            f"CASE WHEN {_is_plausible(name)} THEN {name} END AS {name}" for name in counts
        ),
        implausible=" OR ".join(f"NOT coalesce({_is_plausible(name)}, TRUE)" for name in counts),
        columns=", ".join(_resolved_columns(schema)),
    )


def _metric_points_sql() -> str:
    return sql_text("resolve_metric_points.sql").format(
        target="resolved_metric_points",
        source=_SOURCE,
        time="time",
        columns=", ".join(name for name in columns.METRIC_POINTS.names if name not in _CONSUMED),
    )


def _is_plausible(count: str) -> str:
    return f"{count} BETWEEN 0 AND {_LARGEST_COUNT}"


def _resolved_columns(schema: pa.Schema) -> Iterator[str]:
    for name in schema.names:
        if name not in _CONSUMED:
            yield name
        yield from _ADDED.get(name, ())


def _with_documents(table: pa.Table) -> pa.Table:
    """Mark the JSON columns as such, which spares DuckDB parsing every document again."""
    for position, name in enumerate(table.column_names):
        if name in _DOCUMENTS:
            table = table.set_column(position, name, _as_document(table.column(position)))
    return table


def _as_document(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    document = pa.json_(pa.string())
    chunks = [pa.ExtensionArray.from_storage(document, chunk) for chunk in texts.chunks]
    return pa.chunked_array(chunks, type=document)

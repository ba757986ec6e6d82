"""Resolution: what the values mean that extraction took from the wire, set by set in SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import duckdb
import pyarrow as pa

from semconv import columns, macros
from semconv.call_builder import CallBuilder
from semconv.kinds import Kinds
from semconv.prices import PriceBook, PriceList, installed
from semconv.settings import Settings
from semconv.sqltext import sql_text

_SOURCE: Final = "extracted_records"
# Read for resolution, not stored.
_CONSUMED: Final = {
    *("total_tokens", "server_address", "stream"),
    *("resource_billing_account", "resource_plan_tier", "bound_billing_account"),
}
# Columns that resolution adds, and the column of extraction that each stands behind.
_ADDED: Final = {"dialect": ("role",), "image_input_tokens": ("token_semantics", "token_evidence")}
_DOCUMENTS: Final = {
    *("resource_attributes", "scope_attributes", "metric_metadata", "attributes"),
    *("events", "links", "evidence", "body", "buckets", "exemplars"),
}
_COUNTS: Final = tuple(name for name, _ in columns.CLAIMED if name.endswith("_tokens"))
_ACCOUNT: Final = (
    "coalesce(sent_account(bound_billing_account, billing_account, resource_billing_account),"
    " fallback_account)"
)
# Columns that take both what was sent, GenAI or not, and what resolution found for GenAI records.
_DECIDED_LAST: Final = {
    "billing_account": _ACCOUNT,
    "plan_tier": "CASE WHEN dialect IS NULL THEN sent_plan(plan_tier, resource_plan_tier) ELSE"
    f" coalesce(sent_plan(plan_tier, resource_plan_tier), declared_plan({_ACCOUNT}, {{time}}::DATE),"
    " default_plan_tier()) END",
    "notes": "CASE WHEN new_notes IS NULL THEN notes ELSE list_concat(coalesce(notes, []), new_notes) END",
}
# No context window and no batch item comes near it; sums of a few such counts still fit 64 bits.
_LARGEST_COUNT: Final = 1_000_000_000_000


class Resolver:
    """Resolves what was extracted, on any DuckDB connection, into TEMP tables; names no other database."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, settings: Settings, price_list: PriceList | None = None
    ) -> None:
        """Loads the mapping tables and the settings' accounts, plans and prices into TEMP tables and macros.

        Without a ``price_list`` calls are priced by that of the installed package.
        """
        self._connection = connection
        macros.install(connection, settings)
        self._kinds = Kinds(connection, macros.signs())
        book = PriceBook(price_list or installed(), settings.price_overrides)
        self._call_builder = CallBuilder(connection, settings.dimensions, book)
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
        self._connection.register(_SOURCE, self._kinds.told(_with_documents(extracted)))
        try:
            self._connection.execute(self._statements[signal])
        finally:
            self._connection.unregister(_SOURCE)


def _records_sql(target: str, schema: pa.Schema, time: str) -> str:
    return sql_text("resolve_records.sql").format(
        target=target,
        source=_SOURCE,
        counts=", ".join(_COUNTS),
        largest_count=_LARGEST_COUNT,
        plausible_counts=", ".join(map(_plausible_count, _COUNTS)),
        known_counts=", ".join(map(_known_count, _COUNTS)),
        columns=", ".join(_resolved_columns(schema, time, added=_ADDED)),
    )


def _metric_points_sql() -> str:
    return sql_text("resolve_metric_points.sql").format(
        target="resolved_metric_points",
        source=_SOURCE,
        columns=", ".join(_resolved_columns(columns.METRIC_POINTS, "time", added={})),
    )


def _plausible_count(name: str) -> str:
    return f"CASE WHEN {name} BETWEEN 0 AND {_LARGEST_COUNT} THEN {name} END AS {name}"


def _known_count(name: str) -> str:
    is_known = "NOT (is_void OR has_zero_input)" if name == "input_tokens" else "NOT is_void"
    return f"CASE WHEN {is_known} THEN {name} END AS {name}"


def _resolved_columns(schema: pa.Schema, time: str, added: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The lake's columns of what resolution made of the extracted ones."""
    for name in schema.names:
        if name in _DECIDED_LAST:
            yield f"{_DECIDED_LAST[name].format(time=time)} AS {name}"
        elif name not in _CONSUMED:
            yield name
        yield from added.get(name, ())


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

"""Resolution: what the values mean that extraction took from the wire, set by set in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import duckdb
import pyarrow as pa

from semconv import columns, macros
from semconv.call_builder import CallBuilder
from semconv.kinds import FOUND, Kinds
from semconv.planned import Planned
from semconv.prices import PriceBook, PriceList, installed
from semconv.settings import Settings
from semconv.sqltext import sql_text

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
# Columns of extraction that the SQL reads; a signal has some of them.
_READ: Final = {
    *("start_time", "time", "service_name", "resource_attributes", "attributes", "notes"),
    *("dialect", "operation", "provider", "request_model", "response_model", "model_region", "response_id"),
    *("service_tier", "batch", "stream", "time_to_first_token_ms", "session_id", "user_id"),
    *("agent_name", "agent_id", "tool_name", "tool_call_id", *_COUNTS, "reported_cost_usd"),
    *("billing_account", "resource_billing_account", "bound_billing_account"),
    *("plan_tier", "resource_plan_tier"),
    *FOUND,
}
# What comes out of the SQL; all else is stored as it was extracted.
_OF_POINTS: Final = ("provider", "session_id", "billing_account", "plan_tier", "notes")
_OF_RECORDS: Final = (
    *("role", "model_region", "service_tier", "batch", "time_to_first_token_ms"),
    *(name for name in _COUNTS if name not in _CONSUMED),
    *("token_semantics", "token_evidence", "reported_cost_usd"),
    *_OF_POINTS,
)
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
    """Resolves what was extracted, on any DuckDB connection; names no other database. One per connection at a time."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, settings: Settings, price_list: PriceList | None = None
    ) -> None:
        """Loads the mapping tables and the settings' accounts, plans and prices into TEMP tables and macros.

        Without a ``price_list`` calls are priced by that of the installed package.
        """
        macros.install(connection, settings)
        self._kinds = Kinds(connection, macros.signs())
        book = PriceBook(price_list or installed(), settings.price_overrides)
        self._call_builder = CallBuilder(connection, settings.dimensions, book)
        statements = {
            "spans": _records_sql("start_time"),
            "log_records": _records_sql("time"),
            "metric_points": _metric_points_sql(),
        }
        self._plans = {signal: Planned(connection, text) for signal, text in statements.items()}

    def resolve_spans(self, extracted: pa.Table) -> pa.Table:
        """The columns of `spans` but load_id, row by row of `extracted`."""
        return self._resolve("spans", extracted)

    def resolve_log_records(self, extracted: pa.Table) -> pa.Table:
        """The columns of `log_records` but load_id, likewise."""
        return self._resolve("log_records", extracted)

    def resolve_metric_points(self, extracted: pa.Table) -> pa.Table:
        """The columns of `metric_points` but load_id, likewise."""
        return self._resolve("metric_points", extracted)

    def build_calls(self, records: pa.Table) -> pa.Table:
        """The columns of `calls` from `records`: call_records as semconv/calls.py describes them."""
        return self._call_builder.build(records)

    def _resolve(self, signal: str, extracted: pa.Table) -> pa.Table:
        records = self._kinds.told(columns.as_documents(extracted, _DOCUMENTS))
        read = records.select([name for name in records.column_names if name in _READ])
        return _resolved(records, self._plans[signal].table(extracted=read))


def _resolved(records: pa.Table, found: pa.Table) -> pa.Table:
    """The lake's columns, in their order: those that were found, the others as they came."""
    names = list(_stored(records.column_names))
    columns_found = set(found.column_names)
    return pa.table(
        [(found if name in columns_found else records).column(name) for name in names], names=names
    )


def _stored(extracted: Iterable[str]) -> Iterator[str]:
    """The lake's columns for the extracted ones."""
    names = [name for name in extracted if name not in _CONSUMED and name not in FOUND]
    for name in names:
        yield name
        # Points of metrics have neither role nor tokens.
        yield from _ADDED.get(name, ()) if "response_id" in names else ()


def _records_sql(time: str) -> str:
    return sql_text("resolve_records.sql").format(
        counts=", ".join(_COUNTS),
        largest_count=_LARGEST_COUNT,
        plausible_counts=", ".join(map(_plausible_count, _COUNTS)),
        known_counts=", ".join(map(_known_count, _COUNTS)),
        columns=_found_columns(_OF_RECORDS, time),
    )


def _metric_points_sql() -> str:
    return sql_text("resolve_metric_points.sql").format(columns=_found_columns(_OF_POINTS, "time"))


def _found_columns(names: Iterable[str], time: str) -> str:
    return ", ".join(
        f"{_DECIDED_LAST[name].format(time=time)} AS {name}" if name in _DECIDED_LAST else name
        for name in names
    )


def _plausible_count(name: str) -> str:
    return f"CASE WHEN {name} BETWEEN 0 AND {_LARGEST_COUNT} THEN {name} END AS {name}"


def _known_count(name: str) -> str:
    is_known = "NOT (is_void OR has_zero_input)" if name == "input_tokens" else "NOT is_void"
    return f"CASE WHEN {is_known} THEN {name} END AS {name}"

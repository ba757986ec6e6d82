"""Builds `calls` from the records of whole traces; the SQL of each step stands in call_*.sql and calls.sql."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import duckdb
import pyarrow as pa

from semconv import calls
from semconv.ancestry import Ancestry, walk
from semconv.grouping import Edge, Grouping, group
from semconv.prices import compile_snapshot
from semconv.prices.models import PriceModels
from semconv.sqltext import quoted, sql_text

_WHOSE: Final = ("session_id", "user_id")
_AGENT_AND_TOOL: Final = ("agent_name", "agent_id", "tool_name", "tool_call_id")
_INPUT_COUNTS: Final = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("cache_write_5m_tokens", "cache_write_30m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens"),
    *("audio_input_tokens", "image_input_tokens"),
)
_OUTPUT_COUNTS: Final = ("output_tokens", "reasoning_tokens", "audio_output_tokens")
_TOTALS: Final = {"input_tokens", "output_tokens"}
_DECIDED_APART: Final = {
    *(
        "token_semantics",
        "token_evidence",
        "status_code",
        "error_type",
        "billing_account",
        "plan_tier",
        "notes",
    ),
}

# The columns of `calls` in the lake's order; configured dimensions follow.
CALL_COLUMNS: Final = (
    *("call_id", "tenant", "trace_id", "span_id", "members", "signal", "start_time", "duration_ns"),
    *("service_name", "deployment_environment", "dialect", "role", "operation", "provider"),
    *("request_model", "response_model", "model_region", "response_id", "finish_reasons", "service_tier"),
    *("speed", "batch", "error_type", "time_to_first_token_ms"),
    *_WHOSE,
    *_AGENT_AND_TOOL,
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens"),
    *("cache_write_30m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens"),
    *("output_tokens", "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens"),
    *("token_semantics", "token_evidence"),
    *("session_inherited", "user_inherited", "agent_inherited", "tool_inherited", "possible_duplicate"),
    *("billing_account", "plan_tier", "pricing_mode", "cost_usd", "cost_low_usd", "cost_high_usd"),
    *("cost_input_usd", "cost_output_usd", "cost_cache_read_usd", "cost_cache_write_usd"),
    *("cost_reasoning_usd", "cost_audio_usd", "cost_request_usd", "reported_cost_usd"),
    *("price_id", "cost_note", "status_code", "notes"),
)


class CallBuilder:
    """Turns TEMP call_records into TEMP built_calls."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, dimensions: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = _Statements(tuple(dimensions))
        self._price_models = PriceModels()
        self._load_prices()

    def build(self) -> None:
        """Reads call_records (semconv/calls.py says what it holds), replaces built_calls."""
        ancestry = self._walk()
        self._with_table("ancestry", ancestry.telling, self._sql.candidates)
        self._group(ancestry.nesting)
        self._know_models()
        self._connection.execute(self._sql.price)
        self._connection.execute(self._sql.calls)

    def _load_prices(self) -> None:
        self._with_table("price_rows", compile_snapshot().rows, sql_text("prices/rates.sql"))
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE price_models (provider VARCHAR, response_model VARCHAR,"
            " request_model VARCHAR, price_provider VARCHAR, price_model VARCHAR)"
        )

    def _walk(self) -> Ancestry:
        columns = self._connection.execute(self._sql.parents).to_arrow_table().to_pydict()
        return walk(columns["node"], columns["parent"], columns["is_candidate"], columns["is_telling"])

    def _group(self, nesting: pa.Table) -> None:
        self._connection.register("nesting", nesting)
        try:
            if nesting.num_rows:
                self._drop_roll_ups()
            elif not self._has_partners():
                return
            edges = [Edge(*row) for row in self._connection.execute(self._sql.edges).fetchall()]
        finally:
            self._connection.unregister("nesting")
        if edges:
            pairs = zip(
                nesting.column("ancestor").to_pylist(), nesting.column("node").to_pylist(), strict=True
            )
            self._merge(group(edges, frozenset(pairs)))

    def _has_partners(self) -> bool:
        row = self._connection.execute(self._sql.partners).fetchone()
        return row is not None and any(row)

    def _drop_roll_ups(self) -> None:
        roll_ups = self._connection.execute(self._sql.roll_ups).fetchall()
        if roll_ups:
            self._connection.execute(
                f"DELETE FROM call_candidates WHERE node IN {_in(n for (n,) in roll_ups)}"
            )

    def _merge(self, grouping: Grouping) -> None:
        doubtful = {node for pair in grouping.doubtful for node in pair}
        if doubtful:
            self._connection.execute(
                f"UPDATE call_candidates SET possible_duplicate = TRUE WHERE node IN {_in(sorted(doubtful))}"
            )
        if grouping.groups:
            self._with_table("call_members", _members_table(grouping), self._sql.merge)
            members = [node for members in grouping.groups for node in members]
            self._connection.execute(f"DELETE FROM call_candidates WHERE node IN {_in(members)}")
            self._connection.execute("INSERT INTO call_candidates BY NAME FROM merged_candidates")

    def _know_models(self) -> None:
        """Adds the models of this batch that price_models does not have yet."""
        unknown = self._connection.execute(self._sql.new_models).fetchall()
        rows = [(*named, *(self._price_models.find(*named) or (None, None))) for named in unknown]
        if rows:
            table = pa.table(
                dict(zip(_PRICE_MODELS, zip(*rows, strict=True), strict=True)), schema=_PRICE_MODELS_SCHEMA
            )
            self._with_table("new_price_models", table, "INSERT INTO price_models FROM new_price_models")

    def _with_table(self, name: str, table: pa.Table, statement: str) -> None:
        self._connection.register(name, table)
        try:
            self._connection.execute(statement)
        finally:
            self._connection.unregister(name)


_PRICE_MODELS: Final = ("provider", "response_model", "request_model", "price_provider", "price_model")
_PRICE_MODELS_SCHEMA: Final = pa.schema([(name, pa.string()) for name in _PRICE_MODELS])


def _members_table(grouping: Grouping) -> pa.Table:
    rows = [(node, number) for number, members in enumerate(grouping.groups) for node in members]
    nodes, numbers = zip(*rows, strict=True)
    return pa.table({"node": pa.array(nodes, pa.int64()), "call_number": pa.array(numbers, pa.int64())})


def _in(nodes: Iterable[int]) -> str:
    return f"({', '.join(map(str, nodes))})"


class _Statements:
    """The SQL, with the configured dimensions worked in."""

    def __init__(self, dimensions: tuple[str, ...]) -> None:
        keys = (*_WHOSE, *dimensions)
        told = [*_WHOSE, *_AGENT_AND_TOOL, *dimensions]
        self.parents = sql_text("call_parents.sql").format(told=", ".join(f"child.{quoted(name)}" for name in told))
        self.candidates = sql_text("call_candidates.sql").format(
            nearest_values="".join(_nearest(key) for key in keys),
            trace_values=", ".join(_trace_wide(key) for key in keys),
            record_columns=", ".join(f"call_records.{name}" for name in _record_columns()),
            value_levels=", ".join(_levels(key, has_resource=key in dimensions) for key in keys),
        )
        self.roll_ups = sql_text("call_rollups.sql")
        self.partners = sql_text("call_partners.sql")
        self.edges = sql_text("call_edges.sql").format(**calls.BOUNDS)
        self.merge = _merge_sql(keys)
        self.new_models = sql_text("prices/new_models.sql")
        self.price = sql_text("prices/price.sql")
        self.calls = sql_text("calls.sql").format(
            decided_values=", ".join(_decided(key) for key in keys),
            conflict_notes=", ".join(
                f"CASE WHEN {_conflict(key)} THEN '{key.removesuffix('_id')}_conflict' END" for key in _WHOSE
            ),
            columns=", ".join(map(quoted, (*CALL_COLUMNS, *dimensions))),
        )


def _record_columns() -> Iterator[str]:
    for name in calls.CALL_RECORD_COLUMNS:
        if name not in _WHOSE and name not in _AGENT_AND_TOOL:
            yield name


def _column(key: str, suffix: str) -> str:
    return quoted(f"{key}_{suffix}")


def _nearest(key: str) -> str:
    return (
        f"arg_min({quoted(key)}, distance) AS {_column(key, 'near')},"
        f" min(distance) FILTER ({quoted(key)} IS NOT NULL) AS {_column(key, 'distance')},"
    )


def _trace_wide(key: str) -> str:
    return f"min({quoted(key)}) AS {_column(key, 'first')}, max({quoted(key)}) AS {_column(key, 'last')}"


def _levels(key: str, *, has_resource: bool) -> str:
    near, distance, first, last = (_column(key, suffix) for suffix in ("near", "distance", "first", "last"))
    fallback = f", call_records.{quoted(calls.resource_dimension(key))}" if has_resource else ""
    resource_level = (
        f" WHEN call_records.{quoted(calls.resource_dimension(key))} IS NOT NULL THEN 4"
        if has_resource
        else ""
    )
    return (
        f"CASE WHEN {distance} = 0 THEN 1 WHEN {distance} > 0 THEN 2 WHEN {first} IS NOT NULL THEN 3{resource_level} END"
        f" AS {_column(key, 'level')},"
        f" coalesce({near}, {first}{fallback}) AS {_column(key, 'low')},"
        f" coalesce({near}, {last}{fallback}) AS {_column(key, 'high')}"
    )


def _conflict(key: str) -> str:
    return f"{_column(key, 'low')} <> {_column(key, 'high')}"


def _decided(key: str) -> str:
    return f"CASE WHEN {_column(key, 'low')} = {_column(key, 'high')} THEN {_column(key, 'low')} END AS {quoted(key)}"


def _merge_sql(keys: tuple[str, ...]) -> str:
    apart = {*_INPUT_COUNTS, *_OUTPUT_COUNTS, *_DECIDED_APART}
    filled = [name for name in _record_columns() if name not in apart]
    details = (name for name in (*_INPUT_COUNTS, *_OUTPUT_COUNTS) if name not in _TOTALS)
    return sql_text("call_merge.sql").format(
        details=" + ".join(f"({name} IS NOT NULL)::INT" for name in details),
        least_levels=", ".join(
            f"min({_column(key, 'level')}) OVER (PARTITION BY call_number) AS {_column(key, 'least_level')}"
            for key in keys
        ),
        filled=", ".join(f"arg_min({name}, rank) AS {name}" for name in filled),
        filled_input=", ".join(
            f"arg_min({name}, rank) FILTER (same_input) AS {name}" for name in _INPUT_COUNTS
        ),
        filled_output=", ".join(
            f"arg_min({name}, rank) FILTER (same_output) AS {name}" for name in _OUTPUT_COUNTS
        ),
        merged_values=", ".join(_merged(key) for key in keys),
    )


def _merged(key: str) -> str:
    level = _column(key, "level")
    is_least = f"{level} = {_column(key, 'least_level')}"
    return (
        f"min({level}) AS {level},"
        f" min({_column(key, 'low')}) FILTER ({is_least}) AS {_column(key, 'low')},"
        f" max({_column(key, 'high')}) FILTER ({is_least}) AS {_column(key, 'high')}"
    )

"""Prices calls, wherever their rows stand: the loader's new ones and stored ones alike."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from semconv.prices import rates
from semconv.prices.book import PriceBook
from semconv.prices.finder import Priced
from semconv.prices.sheets import STANDARD
from semconv.sqltext import sql_text

# What a call is priced by, besides its counts and its time.
_NAME: Final = ("provider", "response_model", "request_model", "billing_account", "variant", "model_region")
_NAMES: Final = pa.schema(
    [
        *((name, pa.string()) for name in _NAME),
        *((name, pa.int32()) for name in ("sheet", "low_sheet", "high_sheet")),
        *((name, pa.bool_()) for name in ("is_listed", "is_regional")),
    ]
)
_SAME_NAMES: Final = {
    **{name: f"call.{name}" for name in _NAME},
    "variant": "price_variant(call.batch, call.service_tier, call.speed)",
}
_COUNTS: Final = (
    *("output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens"),
    *("cache_write_30m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens", "reasoning_tokens"),
    *("audio_input_tokens", "audio_output_tokens", "image_input_tokens"),
)
_READ: Final = (
    *("node", "role", "status_code", "billing_account", "plan_tier"),
    *("start_time", "duration_ns", "token_semantics"),
)
_MOST_REMEMBERED: Final = 50_000

_JOIN_BOUNDS: Final = "LEFT JOIN call_bounds ON call_bounds.node = call.node"

Name = tuple[str | None, ...]


class _Arithmetic(NamedTuple):
    """In which numbers costs are computed: 64 bits where rates and counts allow it, 128 take many times as long."""

    rates: str  # the table of the rates
    pico: int  # the unit of the rates, in 1e-12 USD
    cast: str  # of counts
    digits: int  # of a cost in 1e-12 USD

    @property
    def macros(self) -> str:
        """`pico` rounds a million tokens' rates times tokens to 1e-12 USD; `usd` makes money of that."""
        return (
            f"CREATE OR REPLACE TEMP MACRO pico(exact) AS half_even(exact, {1_000_000 // self.pico});"
            f" CREATE OR REPLACE TEMP MACRO usd(pico) AS"
            f" (pico::DECIMAL({self.digits}, 0) * 0.000000000001::DECIMAL(12, 12))::DECIMAL(38, 12)"
        )


_NARROW: Final = _Arithmetic("nano_rates", 1000, "", 18)
_WIDE: Final = _Arithmetic("pico_rates", 1, "::HUGEINT", 38)


class _Named(NamedTuple):
    name: Name
    is_in_doubt: bool | None
    most_tokens: int


class Pricer:
    """Keeps the names that calls are priced by, and the rates they mean, in TEMP tables of one connection.

    The connection has the macros of ``macros.install``.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, book: PriceBook) -> None:
        self._connection = connection
        self._safe_tokens: int = rates.NO_LIMIT
        self._book = book
        self._same_names = " AND ".join(
            f"names.{name} IS NOT DISTINCT FROM {value}"
            for name, value in _SAME_NAMES.items()
            if name != "billing_account" or book.knows_accounts
        )
        self._last_sheet: int | None = None
        self._next_sheet = 0  # never one twice, so that tables of before a rollback are known as such
        connection.execute(sql_text("prices/macros.sql"))
        self._forget()

    def price(self, relation: str) -> None:
        """TEMP call_costs: one row per row of ``relation``, by its ``node`` (BIGINT).

        ``relation`` has the columns of `calls` for provider, models, region, tier, speed, batch, account, plan, role,
        status, time, duration and tokens; plan_tier may be NULL.
        """
        found = self._names(relation)
        self._know(list(dict.fromkeys(each.name for each in found)))
        is_narrow = all(each.most_tokens < self._safe_tokens for each in found)
        run = partial(self._run, relation=relation, arithmetic=_NARROW if is_narrow else _WIDE)
        if any(each.is_in_doubt or self._bounded[each.name] for each in found):
            run("bounds")
            run("price", bounds="least_total, most_total", join_bounds=_JOIN_BOUNDS)
        else:
            run("price", bounds="NULL AS least_total, NULL AS most_total", join_bounds="")

    def _run(self, name: str, *, relation: str, arithmetic: _Arithmetic, **more: str) -> None:
        counts = (f"call.{column}{arithmetic.cast} AS {column}" for column in _COUNTS)
        parts = sql_text("prices/parts.sql").format(
            rates=arithmetic.rates, hour=3600 * 10**9 // arithmetic.pico
        )
        self._connection.execute(arithmetic.macros)
        self._connection.execute(
            sql_text(f"prices/{name}.sql").format(
                relation=relation,
                columns=", ".join((*(f"call.{column}" for column in _READ), *counts)),
                cast=arithmetic.cast,
                same_names=self._same_names,
                parts=parts,
                **more,
            )
        )

    def _names(self, relation: str) -> list[_Named]:
        statement = sql_text("prices/names.sql").format(
            relation=relation,
            account="billing_account" if self._book.knows_accounts else "NULL",
            first_tier=self._book.first_tier,
            counts=", ".join(f"coalesce({count}, 0)" for count in ("input_tokens", *_COUNTS)),
        )
        rows = self._connection.execute(statement).fetchall()
        return [_Named(row[:-2], *row[-2:]) for row in rows]

    def _know(self, names: list[Name]) -> None:
        """Adds those that price_names does not have yet. A transaction that is rolled back takes them with it."""
        stored = self._connection.execute("SELECT count(*), max(sheet) FROM price_names").fetchone()
        was_rolled_back = stored != (len(self._bounded), self._last_sheet)
        if was_rolled_back or len(self._bounded) + len(names) > _MOST_REMEMBERED:
            self._forget()
        self._add([name for name in names if name not in self._bounded])

    def _add(self, names: Iterable[Name]) -> None:
        rated: list[dict[str, Any]] = []
        rows = [self._row(name, rated) for name in names]
        if rated:
            self._safe_tokens = min(self._safe_tokens, rates.safe_tokens(rated, _NARROW.pico))
            table = pa.Table.from_pylist(rated, rates.SCHEMA)
            for each in (_NARROW, _WIDE):
                in_unit = ", ".join(f"{name} // {each.pico} AS {name}" for name in rates.NAMES)
                insert = sql_text("prices/new_rates.sql").format(table=each.rates, rates=in_unit)
                self._with_table("new_rates", table, insert)
        if rows:
            table = pa.Table.from_pylist(rows, _NAMES)
            self._with_table("new_names", table, "INSERT INTO price_names FROM new_names")

    def _row(self, name: Name, rated: list[dict[str, Any]]) -> dict[str, Any]:
        provider, response_model, request_model, billing_account, variant, region = name
        priced = self._book.listed(provider, response_model, request_model)
        overrides = self._book.overrides_for(provider, response_model, request_model, billing_account)
        listed = self._book.sheets(provider, priced)
        key = (priced, len(listed), tuple(map(id, overrides)), variant)
        if key not in self._sheets:
            first, self._next_sheet = self._next_sheet, self._next_sheet + 3
            numbers = (first, first + 1, first + 2)
            rows = list(self._book.rate_rows(listed, priced, overrides, variant or STANDARD, numbers))
            rated += rows
            self._sheets[key] = (first, any(row["sheet"] > first for row in rows))
        sheet, has_bounds = self._sheets[key]
        self._bounded[name] = has_bounds
        self._last_sheet = max(sheet, self._last_sheet or 0)
        return {
            **dict(zip(_NAME, name, strict=True)),
            "sheet": sheet,
            "low_sheet": sheet + 1 if has_bounds else None,
            "high_sheet": sheet + 2 if has_bounds else None,
            "is_listed": priced is not None or any(each.given.discount is None for each in overrides),
            "is_regional": self._is_regional(priced, region),
        }

    def _is_regional(self, priced: Priced | None, region: str | None) -> bool:
        if priced is None or (region or "global").lower() == "global":
            return False
        return self._book.price_list.finder.differs_by_region(priced)

    def _forget(self) -> None:
        """Names come from the network: what is remembered of them stays bounded."""
        self._bounded: dict[Name, bool] = {}
        self._safe_tokens = rates.NO_LIMIT
        self._sheets: dict[tuple[Any, ...], tuple[int, bool]] = {}
        self._last_sheet = None
        tables = {"price_names": _NAMES, _NARROW.rates: rates.SCHEMA, _WIDE.rates: rates.SCHEMA}
        for table, schema in tables.items():
            self._with_table(
                "nothing", schema.empty_table(), f"CREATE OR REPLACE TEMP TABLE {table} AS FROM nothing"
            )

    def _with_table(self, name: str, table: pa.Table, statement: str) -> None:
        self._connection.register(name, table)
        try:
            self._connection.execute(statement)
        finally:
            self._connection.unregister(name)

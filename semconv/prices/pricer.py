"""Prices calls, wherever their rows stand: the loader's new ones and stored ones alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from semconv.planned import Planned, relation
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
    *("audio_input_tokens", "audio_output_tokens", "image_input_tokens", "input_text_bytes"),
)
_READ: Final = (
    *("node", "role", "status_code", "billing_account", "plan_tier"),
    *("start_time", "duration_ns", "token_semantics"),
)
_MOST_REMEMBERED: Final = 50_000
# What is read of a call.
PRICED_BY: Final = tuple(
    dict.fromkeys(
        (
            *(*_READ, "provider", "response_model", "request_model", "model_region"),
            *("input_tokens", *_COUNTS, "batch", "service_tier", "speed"),
        )
    )
)
_BOUNDED: Final = {
    "bounds": "least_total, most_total",
    "join_bounds": "LEFT JOIN call_bounds ON call_bounds.node = call.node",
}
_UNBOUNDED: Final = {"bounds": "NULL AS least_total, NULL AS most_total", "join_bounds": ""}

Name = tuple[str | None, ...]


class _Arithmetic(NamedTuple):
    """In which numbers costs are computed: 64 bits where rates and counts allow it, 128 take many times as long."""

    bits: int
    pico: int  # the unit of the rates, in 1e-12 USD
    cast: str  # of counts
    digits: int  # of a cost in 1e-12 USD

    @property
    def macros(self) -> str:
        """`pico` rounds a million tokens' rates times tokens to 1e-12 USD; `usd` makes money of that."""
        return (
            f"CREATE OR REPLACE TEMP MACRO pico_{self.bits}(exact) AS"
            f" half_even(exact, {1_000_000 // self.pico});"
            f" CREATE OR REPLACE TEMP MACRO usd_{self.bits}(pico) AS"
            f" (pico::DECIMAL({self.digits}, 0) * 0.000000000001::DECIMAL(12, 12))::DECIMAL(38, 12)"
        )


_NARROW: Final = _Arithmetic(64, 1000, "", 18)
_WIDE: Final = _Arithmetic(128, 1, "::HUGEINT", 38)


class _Named(NamedTuple):
    name: Name
    is_in_doubt: bool | None
    most_tokens: int


class Pricer:
    """Keeps the names that calls are priced by, and the rates they mean.

    The connection has the macros of ``macros.install``, or that of ``macros.install_plans``.
    """

    _bounded: dict[Name, bool]  # the names that are known; whether other tiers' prices bracket theirs
    _safe_tokens: int  # with fewer than so many of each kind 64 bits are enough
    _sheets: dict[tuple[Any, ...], tuple[int, bool]]
    _names: pa.Table
    _rates: dict[_Arithmetic, pa.Table]

    def __init__(self, connection: duckdb.DuckDBPyConnection, book: PriceBook) -> None:
        self._connection = connection
        self._book = book
        self._same_names = " AND ".join(
            f"names.{name} IS NOT DISTINCT FROM {value}"
            for name, value in _SAME_NAMES.items()
            if name != "billing_account" or book.knows_accounts
        )
        connection.execute(sql_text("prices/macros.sql"))
        for arithmetic in (_NARROW, _WIDE):
            connection.execute(arithmetic.macros)
        self._names_of = Planned(connection, self._names_sql())
        self._plans: dict[tuple[object, ...], Planned] = {}
        self._forget()

    def price(self, calls: pa.Table, wanted: tuple[str, ...] = ("*",)) -> pa.Table:
        """What calls cost and how their money is meant: one row per row of ``calls``, by its ``node`` (BIGINT), with
        `pricing_mode`, `price_id`, `cost_note` and the costs of `calls` (DECIMAL); or only the ``wanted`` of these,
        which takes a quarter less time and memory.

        ``calls`` has the columns of `calls` for provider, models, region, tier, speed, batch, account, plan, role,
        status, time, duration and tokens; plan_tier may be NULL. `input_text_bytes` (BIGINT): how long the text of
        an embedding without tokens was, where that is known.
        """
        read = calls.select(PRICED_BY)
        found = [_Named(row[:-2], *row[-2:]) for row in self._names_of.rows(priced_calls=read)]
        self._know(list(dict.fromkeys(each.name for each in found)))
        arithmetic = _NARROW if all(each.most_tokens < self._safe_tokens for each in found) else _WIDE
        tables = {
            "priced_calls": read,
            "price_names": self._names,
            "price_rates": self._rates[arithmetic],
        }
        if any(each.is_in_doubt or self._bounded[each.name] for each in found):
            bounds = self._plan("bounds", arithmetic).table(**tables)
            return self._plan("price", arithmetic, _BOUNDED, wanted).table(**tables, call_bounds=bounds)
        return self._plan("price", arithmetic, _UNBOUNDED, wanted).table(**tables)

    def _plan(
        self,
        name: str,
        arithmetic: _Arithmetic,
        more: Mapping[str, str] = MappingProxyType({}),
        wanted: tuple[str, ...] = ("*",),
    ) -> Planned:
        key = (name, arithmetic, *more.values(), wanted)
        if key not in self._plans:
            counts = (f"call.{column}{arithmetic.cast} AS {column}" for column in _COUNTS)
            numbers = {"pico": f"pico_{arithmetic.bits}", "usd": f"usd_{arithmetic.bits}"}
            parts = sql_text("prices/parts.sql").format(hour=3600 * 10**9 // arithmetic.pico, **numbers)
            statement = sql_text(f"prices/{name}.sql").format(
                columns=", ".join((*(f"call.{column}" for column in _READ), *counts)),
                cast=arithmetic.cast,
                same_names=self._same_names,
                parts=parts,
                **numbers,
                **more,
            )
            self._plans[key] = Planned(self._connection, f"SELECT {', '.join(wanted)} FROM ({statement})")
        return self._plans[key]

    def _names_sql(self) -> str:
        return sql_text("prices/names.sql").format(
            account="billing_account" if self._book.knows_accounts else "NULL",
            first_tier=self._book.first_tier,
            counts=", ".join(f"coalesce({count}, 0)" for count in ("input_tokens", *_COUNTS)),
        )

    def _know(self, names: list[Name]) -> None:
        """Adds those that are not known yet."""
        if len(self._bounded) + len(names) > _MOST_REMEMBERED:
            self._forget()
        self._add([name for name in names if name not in self._bounded])

    def _add(self, names: Iterable[Name]) -> None:
        rated: list[dict[str, Any]] = []
        rows = [self._row(name, rated) for name in names]
        if rated:
            self._safe_tokens = min(self._safe_tokens, rates.safe_tokens(rated, _NARROW.pico))
            table = pa.Table.from_pylist(rated, rates.SCHEMA)
            for each in self._rates:
                self._rates[each] = pa.concat_tables([self._rates[each], self._rates_in(each, table)])
        if rows:
            self._names = pa.concat_tables([self._names, pa.Table.from_pylist(rows, _NAMES)])

    def _rates_in(self, arithmetic: _Arithmetic, table: pa.Table) -> pa.Table:
        in_unit = ", ".join(f"{name} // {arithmetic.pico} AS {name}" for name in rates.NAMES)
        with relation(self._connection, "new_rates", table):
            statement = sql_text("prices/new_rates.sql").format(rates=in_unit)
            return self._connection.execute(statement).to_arrow_table().cast(rates.SCHEMA)

    def _row(self, name: Name, rated: list[dict[str, Any]]) -> dict[str, Any]:
        provider, response_model, request_model, billing_account, variant, region = name
        priced = self._book.listed(provider, response_model, request_model)
        overrides = self._book.overrides_for(provider, response_model, request_model, billing_account)
        listed = self._book.sheets(provider, priced)
        key = (priced, len(listed), tuple(map(id, overrides)), variant)
        if key not in self._sheets:
            first = 3 * len(self._sheets)
            numbers = (first, first + 1, first + 2)
            rows = list(self._book.rate_rows(listed, priced, overrides, variant or STANDARD, numbers))
            rated += rows
            self._sheets[key] = (first, any(row["sheet"] > first for row in rows))
        sheet, has_bounds = self._sheets[key]
        self._bounded[name] = has_bounds
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
        self._bounded = {}
        self._safe_tokens = rates.NO_LIMIT
        self._sheets = {}
        self._names = _NAMES.empty_table()
        self._rates = {each: rates.SCHEMA.empty_table() for each in (_NARROW, _WIDE)}

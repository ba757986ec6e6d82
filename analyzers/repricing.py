"""Calls of the lake priced again, each at its own time and with its own tokens: by another model, in another tier."""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa

from semconv import macros
from semconv.prices import PriceBook, Pricer
from semconv.prices.pricer import PRICED_BY
from semconv.settings import PriceOverride

# Calls that are priced at once: some 100 MB.
_STEP_CALLS: Final = 200_000
_WANTED: Final = ("node", "cost_usd", "cost_low_usd", "cost_high_usd", "cost_note")
_NOT_STORED: Final = ("node", "input_text_bytes")


def priced_by(*but: str) -> str:
    """The columns of `calls` that a Repricer reads besides `node`, for a SELECT; without those of these names."""
    return ", ".join(f"calls.{name}" for name in PRICED_BY if name not in (*_NOT_STORED, *but))


class Repricer:
    """Keeps what it has planned and looked up for the next calls."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, book: PriceBook) -> None:
        self._connection = connection
        self._prices = _prices_of(book)
        # How an account is billed does not change what a call costs.
        macros.install_plans(connection, ())
        self._pricer = Pricer(connection, book)

    def serves(self, connection: duckdb.DuckDBPyConnection, book: PriceBook) -> bool:
        """Whether it prices on this connection by these prices."""
        return self._connection is connection and self._prices == _prices_of(book)

    def price(self, calls: pa.Table) -> pa.Table:
        """`node`, `cost_usd`, `cost_low_usd`, `cost_high_usd` and `cost_note` of each call (Pricer.price)."""
        calls = calls.append_column("input_text_bytes", pa.nulls(calls.num_rows, pa.int64()))
        steps = [calls.slice(at, _STEP_CALLS) for at in range(0, max(calls.num_rows, 1), _STEP_CALLS)]
        return pa.concat_tables([self._pricer.price(part, _WANTED) for part in steps])

    def price_uncached(self, calls: pa.Table) -> pa.Table:
        """The same of those calls alone that read from a cache, as if they had not: another model, and a batch, may
        find nothing there."""
        reading = calls.filter(pa.compute.field("cache_read_tokens") > 0)
        # Input includes what was read: it is all new then.
        return self.price(replaced(reading, cache_read_tokens=0))


_kept: Final[list[Repricer]] = []


def repricer_for(connection: duckdb.DuckDBPyConnection, book: PriceBook) -> Repricer:
    """That of the analyzer before, where it serves: to plan what it asks takes a tenth of a second."""
    if not _kept or not _kept[0].serves(connection, book):
        _kept[:] = [Repricer(connection, book)]
    return _kept[0]


def _prices_of(book: PriceBook) -> tuple[str, list[PriceOverride]]:
    return book.price_list.snapshot_id, [override.given for override in book.overrides]


def replaced(calls: pa.Table, **values: object) -> pa.Table:
    """The same calls with one value in the whole of each of these columns."""
    for name, value in values.items():
        at = calls.schema.get_field_index(name)
        kind = calls.schema.field(at).type
        calls = calls.set_column(at, name, pa.repeat(pa.scalar(value, kind), calls.num_rows))
    return calls

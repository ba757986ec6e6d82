"""Prices calls, wherever their rows stand: the loader's new ones and stored ones alike."""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa

from semconv.prices.book import PriceBook
from semconv.sqltext import sql_text

_PRICE_MODELS: Final = pa.schema(
    [
        ("provider", pa.string()),
        ("response_model", pa.string()),
        ("request_model", pa.string()),
        ("price_provider", pa.string()),
        ("price_model", pa.string()),
    ]
)


class Pricer:
    """Keeps the book's rates, and the models met so far, in TEMP tables of one connection.

    The connection has the macros of ``macros.install``.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, book: PriceBook) -> None:
        self._connection = connection
        self._book = book
        self._with_table("price_rows", book.rows, sql_text("prices/rates.sql"))
        self._with_table(
            "no_price_models",
            _PRICE_MODELS.empty_table(),
            "CREATE OR REPLACE TEMP TABLE price_models AS FROM no_price_models",
        )

    def price(self, relation: str) -> None:
        """TEMP call_costs: one row per row of ``relation``, by its ``node`` (BIGINT).

        ``relation`` has the columns of `calls` for provider, models, region, tier, speed, batch, account, plan, role,
        status, time, duration and tokens; plan_tier may be NULL.
        """
        self._know_models(relation)
        self._connection.execute(sql_text("prices/price.sql").format(relation=relation))
        self._connection.execute(sql_text("prices/costs.sql").format(relation=relation))

    def _know_models(self, relation: str) -> None:
        """Adds the models of these calls that price_models does not have yet."""
        new = sql_text("prices/new_models.sql").format(relation=relation)
        named = self._connection.execute(new).fetchall()
        if named:
            rows = [(*names, *(self._book.find(*names) or (None, None))) for names in named]
            table = pa.table(
                [pa.array(column, pa.string()) for column in zip(*rows, strict=True)], _PRICE_MODELS
            )
            self._with_table("new_price_models", table, "INSERT INTO price_models FROM new_price_models")

    def _with_table(self, name: str, table: pa.Table, statement: str) -> None:
        self._connection.register(name, table)
        try:
            self._connection.execute(statement)
        finally:
            self._connection.unregister(name)

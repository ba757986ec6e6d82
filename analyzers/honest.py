"""The one place that decides under which name a list price may be shown.

``calls.cost_usd`` is the list price in every pricing mode. Only in mode ``api`` is it money spent. On a
subscription it is what the same calls would have cost through the API, beside the fee; where no plan is
declared nobody knows which of the two it is; a local model costs nothing per call. Two modes are never added.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final

import duckdb

from analyzers import sql
from analyzers.finding import Column
from analyzers.window import Window

_COLUMN_OF_MODE: Final = {
    "api": Column("spend_usd", "spend, USD", "usd"),
    "subscription": Column("implied_api_value_usd", "implied API value (beside the fee), USD", "usd"),
    "unknown": Column("list_price_usd", "list price, plan not declared, USD", "usd"),
}
MODE: Final = Column("pricing_mode", "pricing mode", "text")
MODES: Final = ("api", "subscription", "unknown", "local")
COLUMNS: Final[tuple[Column, ...]] = tuple(_COLUMN_OF_MODE.values())
PLANS: Final = ("api", "pro", "max_5x", "max_20x", "plus", "team", "enterprise", "local")
_ACCOUNTS_SHOWN: Final = 5


def amounts(pricing_mode: str, list_price: Decimal | None) -> tuple[Decimal | None, ...]:
    """One value per column of COLUMNS: the list price under the mode's own name, None under the others."""
    return tuple(
        list_price if mode == pricing_mode else None  # mode local has no column
        for mode in _COLUMN_OF_MODE
    )


def label(pricing_mode: str) -> str | None:
    """What an amount of this mode is called in a sentence; None where the mode has no amounts."""
    column = _COLUMN_OF_MODE.get(pricing_mode)
    return column.label.removesuffix(", USD") if column else None


def undeclared_plans(connection: duckdb.DuckDBPyConnection, window: Window) -> tuple[str, ...]:
    """The note for calls whose plan nobody declared, with the line that declares it; empty without such."""
    accounts = connection.execute(sql.read("undeclared_plans.sql"), window.parameters()).fetchall()
    if not accounts:
        return ()
    calls = sum(count for _, count in accounts)
    return (
        f"calls without a declared plan: {calls}; their list price is not counted as spend. "
        f"Declare the plan in the configuration (one of {', '.join(PLANS)}), as in: {_declaration(accounts)}",
    )


def _declaration(accounts: list[tuple[str | None, int]]) -> str:
    """The line to write: per account where calls have one, else the default for everything."""
    named = [account for account, _ in accounts if account is not None]
    if len(named) < len(accounts):
        return "default_plan_tier: api"
    entries = ", ".join(
        f"{{name: {json.dumps(account)}, plan_tier: api}}" for account in named[:_ACCOUNTS_SHOWN]
    )
    more = len(named) - _ACCOUNTS_SHOWN
    return f"accounts: [{entries}]" + (f" and {more} more accounts" if more > 0 else "")

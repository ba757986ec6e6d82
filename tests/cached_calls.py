"""Calls to models with a prompt cache, priced by hand, for tests of what judges caches."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

import duckdb

from analyzers import frame, registry
from analyzers.finding import Report
from analyzers.window import Window
from tests.calls_table import call, calls_table

DAYS: Final = 14
DAYS_IN_MONTH: Final = 30.436875
DAY, MINUTE = dt.timedelta(days=1), dt.timedelta(minutes=1)
START: Final = dt.datetime(2026, 3, 2)  # a Monday
NOW: Final = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
WINDOW: Final = Window(START.replace(tzinfo=dt.UTC), (START + DAYS * DAY).replace(tzinfo=dt.UTC))
# USD for a million tokens.
OPUS = {"input_mtok": "5", "cache_read_mtok": "0.5", "cache_write_mtok": "6.25", "cache_write_1h_mtok": "10"}
GPT = {"input_mtok": "2.5", "cache_read_mtok": "1.25"}
PRICES = {"opus": OPUS, "gpt": GPT}
ABOUT = {
    "opus": {"provider": "anthropic", "request_model": "claude-opus-4-5"},
    "gpt": {"provider": "openai", "request_model": "gpt-4o"},
}


def cached_call(
    start: dt.datetime,
    tokens: int,
    read: int | None = 0,
    written: int | None = 0,
    model: str = "opus",
    **columns: Any,
) -> dict[str, Any]:
    """A call of so many input tokens, of which so many were read from the cache and written to it for 5 minutes, with
    no output; `model` is a key of PRICES."""
    million, prices = Decimal(1_000_000), {unit: Decimal(usd) for unit, usd in PRICES[model].items()}
    parts = {
        "cost_input_usd": (tokens - (read or 0) - (written or 0)) * prices["input_mtok"] / million,
        "cost_cache_read_usd": None if read is None else read * prices["cache_read_mtok"] / million,
        "cost_cache_write_usd": None
        if written is None
        else written * prices.get("cache_write_mtok", prices["input_mtok"]) / million,
    }
    about = {
        "start_time": start,
        "agent_name": "planner",
        "input_tokens": tokens,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": 0,
        "price_id": model,
        "cost_usd": sum(part for part in parts.values() if part is not None),
        "token_semantics": "inclusive",
    }
    return call(**(about | ABOUT[model] | parts | columns))


def insert_prices(connection: duckdb.DuckDBPyConnection) -> None:
    for price_id, prices in PRICES.items():
        for unit, usd in prices.items():
            connection.execute(
                "INSERT INTO prices (snapshot_id, price_id, provider, model, variant, tier_start, unit, price_usd,"
                " source, source_version) VALUES ('s', ?, 'p', 'm', 'standard', 0, ?, ?, 'genai-prices', '1')",
                [price_id, unit, Decimal(usd)],
            )


def priced_table() -> duckdb.DuckDBPyConnection:
    """Without calls, with these prices."""
    connection = calls_table()
    insert_prices(connection)
    return connection


def report_of(
    name: str, connection: duckdb.DuckDBPyConnection, over: Window = WINDOW, **settings: Any
) -> Report:
    """What an analyzer says of the calls, as a run of it alone has it: settled."""
    report = registry.get(name).run(connection, over, settings)
    return frame.settle(connection, over, NOW, {name: report})[name]

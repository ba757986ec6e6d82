"""Calls as the pricer reads them, and what they cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from semconv import macros
from semconv.prices import PriceBook, PriceList, Pricer, installed
from semconv.settings import PriceOverride, Settings

Row = dict[str, Any]

PARTS = (
    *("cost_input_usd", "cost_output_usd", "cost_cache_read_usd", "cost_cache_write_usd"),
    *("cost_reasoning_usd", "cost_audio_usd", "cost_request_usd"),
)
NOON = dt.datetime(2026, 11, 2, 12)
_TEXTS = (
    *("role", "status_code", "provider", "request_model", "response_model", "model_region", "service_tier"),
    *("speed", "billing_account", "plan_tier", "token_semantics"),
)
_COUNTS = (
    *("duration_ns", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    *("cache_write_5m_tokens", "cache_write_30m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "image_input_tokens"),
    "input_text_bytes",
)
_CALLS = pa.schema(
    [
        ("node", pa.int64()),
        ("start_time", pa.timestamp("us")),
        ("batch", pa.bool_()),
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.int64()) for name in _COUNTS),
    ]
)


def call(**given: Any) -> Row:
    """gpt-4o, 100,000 tokens in of which 40,000 were read from the cache, 1,000 out, in one second."""
    row = {
        "role": "llm",
        "status_code": "UNSET",
        "start_time": NOON,
        "duration_ns": 1_000_000_000,
        "provider": "openai",
        "request_model": "gpt-4o",
        "plan_tier": "api",
        "token_semantics": "inclusive",
        "input_tokens": 100_000,
        "cache_read_tokens": 40_000,
        "output_tokens": 1_000,
    }
    return row | given


def calls_table(calls: list[Row]) -> pa.Table:
    """As the pricer reads them; their numbers are their nodes."""
    return pa.Table.from_pylist([row | {"node": n} for n, row in enumerate(calls)], schema=_CALLS)


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    macros.install(connection, Settings())
    return connection


def price(
    calls: list[Row], *, overrides: Iterable[PriceOverride] = (), price_list: PriceList | None = None
) -> list[Row]:
    """What calls cost, in their order."""
    costs = Pricer(_connection(), PriceBook(price_list or installed(), overrides)).price(calls_table(calls))
    rows: list[Row] = costs.sort_by("node").to_pylist()
    return rows


def cost(*overrides: PriceOverride, **given: Any) -> Row:
    """What `call` with ``given`` costs."""
    [priced] = price([call(**given)], overrides=overrides)
    return priced


def parts(row: Row) -> list[Decimal]:
    return [row[part] for part in PARTS if row[part] is not None]

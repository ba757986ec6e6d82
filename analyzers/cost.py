"""Calls, tokens, cost, latency, errors and cache share by day, model, agent and the like."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.finding import Column, Report, Row
from analyzers.registry import register
from analyzers.setting import BadSetting, Setting, texts
from analyzers.window import Window
from semconv.sqltext import quoted

# What calls can be grouped by besides days and the configured dimensions.
DIMENSIONS: Final = {
    "model": "coalesce(response_model, request_model)",
    "provider": "provider",
    "service": "service_name",
    "environment": "deployment_environment",
    "agent": "agent_name",
    "session": "session_id",
    "user": "user_id",
    "billing_account": "billing_account",
    "plan_tier": "plan_tier",
}
# The last column of `calls` in collector/store/schema.sql; configured dimensions follow it.
_LAST_FIXED_COLUMN: Final = "notes"
DEFAULT_BY: Final = "model"
DAY: Final = "day"

_TOKENS: Final = (
    Column("input_tokens", "input tokens", "count"),
    Column("cache_read_tokens", "cache read", "count"),
    Column("cache_write_tokens", "cache write", "count"),
    Column("output_tokens", "output tokens", "count"),
    Column("reasoning_tokens", "reasoning", "count"),
)
_QUALITY: Final = (
    Column("latency_p50_ms", "p50, ms", "milliseconds"),
    Column("latency_p95_ms", "p95, ms", "milliseconds"),
    Column("error_rate", "errors", "ratio"),
    Column("cache_share", "cache share", "ratio"),
    Column("calls_without_usage", "calls without usage", "count"),
    Column("calls_without_cost", "calls without cost", "count"),
)


class _Figures(NamedTuple):
    """One row of cost.sql after its keys."""

    pricing_mode: str
    calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: Decimal | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    error_rate: float
    cache_share: float | None
    calls_without_usage: int
    calls_without_cost: int
    calls_without_cache: int
    possible_duplicates: int
    cost_low_usd: Decimal | None
    cost_high_usd: Decimal | None
    estimated_calls: int
    estimate_low_usd: Decimal | None
    estimate_high_usd: Decimal | None
    is_total: bool

    def row(self, keys: Row) -> Row:
        """The values of the report's columns."""
        return (
            *keys,
            self.pricing_mode,
            self.calls,
            *(getattr(self, column.name) for column in _TOKENS),
            *honest.amounts(self.pricing_mode, self.cost_usd),
            *(getattr(self, column.name) for column in _QUALITY),
        )


@register(
    "cost",
    help="calls, tokens, cost, latency, error rate and cache share by any dimension",
    settings=(Setting("by", "dimensions to group by, in this order", texts, [DEFAULT_BY]),),
)
def cost(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per group and pricing mode, one total per pricing mode.

    ``settings["by"]``: names of dimensions, a list or comma-separated; default model. Latencies are those of
    successful calls, interpolated between neighbours; the error rate is that of all calls; the cache share is
    the part of the input tokens that was reported as read from the cache. Raises BadSetting.
    """
    allowed = dimensions(connection, window)
    by = _checked(settings["by"], allowed)
    records = connection.execute(_sql(by, allowed), window.parameters()).fetchall()
    figures = [(record[: len(by)], _Figures(*record[len(by) :])) for record in records]
    totals = [figure for _, figure in figures if figure.is_total]
    return Report(
        columns=_columns(by),
        rows=tuple(figure.row(keys) for keys, figure in figures if not figure.is_total),
        totals=tuple(figure.row(keys) for keys, figure in figures if figure.is_total),
        notes=_notes(connection, window, totals),
    )


def dimensions(connection: duckdb.DuckDBPyConnection, window: Window) -> dict[str, str]:
    """Name -> SQL expression over the window's calls. What is configured is read off the lake: no configuration is
    needed."""
    columns = [name for name, *_ in connection.execute("DESCRIBE calls").fetchall()]
    configured = columns[columns.index(_LAST_FIXED_COLUMN) + 1 :]
    return (
        {name: quoted(name) for name in configured}
        | DIMENSIONS
        | {DAY: f"CAST({window.local_time_sql()} AS DATE)"}
    )


def _checked(names: list[str], dimensions: Iterable[str]) -> list[str]:
    for name in names:
        if name not in dimensions:
            raise BadSetting(f"cost: no dimension {name!r}; allowed: {', '.join(sorted(dimensions))}")
    return names or [DEFAULT_BY]


def _sql(by: list[str], dimensions: dict[str, str]) -> str:
    keys = [f"key_{position}" for position in range(len(by))]
    return sql.read("cost.sql").format(
        keys=", ".join(f"{dimensions[name]} AS {key}" for name, key in zip(by, keys, strict=True)),
        key_names=", ".join(keys),
        no_keys=", ".join(f"NULL AS {key}" for key in keys),
        order=", ".join(_order(by, keys)),
    )


def _order(by: list[str], keys: list[str]) -> list[str]:
    """Days run forward; within them, or without days, the dearest comes first."""
    chronological = keys[: by.index(DAY) + 1] if DAY in by else []
    modes = ", ".join(f"'{mode}'" for mode in honest.MODES)
    return [
        "is_total",
        *(f"{key} NULLS LAST" for key in chronological),
        f"list_position([{modes}], pricing_mode)",
        "cost_usd DESC NULLS LAST",
        "calls DESC",
        *(f"{key} NULLS LAST" for key in keys),
    ]


def _columns(by: list[str]) -> tuple[Column, ...]:
    keys = (Column(name, name.replace("_", " "), "date" if name == DAY else "text") for name in by)
    return (*keys, honest.MODE, Column("calls", "calls", "count"), *_TOKENS, *honest.COLUMNS, *_QUALITY)


def _notes(connection: duckdb.DuckDBPyConnection, window: Window, totals: list[_Figures]) -> tuple[str, ...]:
    if not totals:
        return (f"no calls from {window}",)
    return (
        *honest.undeclared_plans(connection, window),
        *_brackets(totals),
        *_estimates(totals),
        *_without_cost(connection, window, totals),
        *_without_usage(totals),
        *_duplicates(totals),
        *_cache(totals),
    )


def _brackets(totals: list[_Figures]) -> Iterable[str]:
    """Where a sender's counts can be read in two ways, the sum has two ends."""
    for total in totals:
        if total.cost_low_usd != total.cost_high_usd:
            yield (
                f"{honest.label(total.pricing_mode)}: between {total.cost_low_usd:.6f} and "
                f"{total.cost_high_usd:.6f} USD; cost_note says of each call why"
            )


def _estimates(totals: list[_Figures]) -> Iterable[str]:
    for total in totals:
        if total.estimated_calls:
            yield (
                f"{honest.label(total.pricing_mode)}: {total.estimated_calls} calls sent no tokens; by the length of"
                f" their text they come to between {total.estimate_low_usd:.6f} and {total.estimate_high_usd:.6f} USD,"
                " an estimate that is in no sum"
            )


def _without_cost(
    connection: duckdb.DuckDBPyConnection, window: Window, totals: list[_Figures]
) -> Iterable[str]:
    missing = sum(total.calls_without_cost for total in totals)
    if missing:
        reasons = connection.execute(sql.read("cost_gaps.sql"), window.parameters()).fetchall()
        listed = ", ".join(f"{calls} {reason}" for reason, calls in reasons)
        yield f"{missing} of {_calls(totals)} calls have no known cost and are in no sum of money: {listed}"


def _without_usage(totals: list[_Figures]) -> Iterable[str]:
    missing = sum(total.calls_without_usage for total in totals)
    if missing:
        yield f"{missing} of {_calls(totals)} calls did not report all their tokens: the true sums are larger"


def _duplicates(totals: list[_Figures]) -> Iterable[str]:
    suspects = sum(total.possible_duplicates for total in totals)
    if suspects:
        yield f"{suspects} of {_calls(totals)} calls may be second reports of another; all are counted"


def _cache(totals: list[_Figures]) -> Iterable[str]:
    silent = sum(total.calls_without_cache for total in totals)
    if silent and any(total.cache_share is not None for total in totals):
        yield f"{silent} of {_calls(totals)} calls do not mention their cache: cache shares are lower bounds"


def _calls(totals: list[_Figures]) -> int:
    return sum(total.calls for total in totals)

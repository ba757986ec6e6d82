"""What senders say that their calls cost, beside what the price list says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple

import duckdb

from analyzers import honest, sql
from analyzers.fields import Field, money
from analyzers.finding import Column, Finding, Report, finding_id
from analyzers.registry import register
from analyzers.window import Window
from semconv.sqltext import literal

# Of services and models, and of calls of each.
_MOST: Final = 10
_EXAMPLES: Final = 5
_REPORTED: Final = honest.columns("reported_{}", "reported by the sender beside {}")
_LOW: Final = honest.columns("{}_low", "{}, at least")
_HIGH: Final = honest.columns("{}_high", "{}, at most")
_DIFFERENCE: Final = honest.columns("reported_less_{}", "reported by the sender less {}")
_KEYS: Final = ("service", "library", "dialect", "model")
_CALLS: Final = (
    Column("calls_with_both", "calls with both", "count"),
    Column("calls_only_reported", "only reported", "count"),
    Column("calls_only_ours", "only ours", "count"),
    Column("calls_agreeing", "agreeing", "count"),
    Column("calls_reported_as_nothing", "reported as 0", "count"),
)


class _Compared(NamedTuple):
    """One row of reported_cost.sql. ``ours``: measured, estimated (between two ends) or unknown."""

    service: str | None
    library: str | None
    dialect: str | None
    model: str | None
    pricing_mode: str
    ours: str
    is_total: bool
    calls_with_both: int
    calls_only_reported: int
    calls_only_ours: int
    calls_agreeing: int
    calls_reported_as_nothing: int
    reported_usd: Decimal | None
    ours_usd: Decimal | None
    low_usd: Decimal | None
    high_usd: Decimal | None
    difference_usd: Decimal | None
    ratio: float | None


@register("reported-cost", help="what senders say that their calls cost, beside what the price list says")
def reported_cost(connection: duckdb.DuckDBPyConnection, window: Window, _settings: dict[str, Any]) -> Report:
    """One row per service, library, model, pricing mode and what is known of our cost: measured, or estimated between
    two ends. Amounts are of calls that have both costs alone; the others are counted. A finding for each of the
    services and models that differ most."""
    found = _compared(connection, window)
    fields = list(_fields({one.pricing_mode for one in found}))
    rows = [tuple(read(one) for _, read in fields) for one in found]
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(row for row, one in zip(rows, found, strict=True) if not one.is_total),
        totals=tuple(row for row, one in zip(rows, found, strict=True) if one.is_total),
        notes=tuple(_notes(connection, window, found)),
        findings=tuple(_differences(connection, window)) if found else (),
    )


def _compared(connection: duckdb.DuckDBPyConnection, window: Window) -> list[_Compared]:
    """Most senders do not say what a call costs, which is seen sooner than what all calls cost."""
    anything = connection.execute(sql.read("reported_anything.sql"), window.parameters()).fetchone()
    if anything is None:
        return []
    return [_Compared(*record) for record in connection.execute(_sql(), window.parameters()).fetchall()]


def _sql() -> str:
    return sql.read("reported_cost.sql").format(
        window_calls=sql.read("reported_calls.sql"),
        libraries=sql.read("call_libraries.sql"),
        modes="[" + ", ".join(map(literal, honest.MODES)) + "]",
    )


def _fields(modes: Collection[str]) -> Iterator[Field]:
    for name in _KEYS:
        yield Column(name, name, "text"), attrgetter(name)
    yield honest.MODE, attrgetter("pricing_mode")
    yield Column("ours", "our cost is", "text"), attrgetter("ours")
    for column in _CALLS:
        yield column, attrgetter(column.name)
    yield from money(_REPORTED, attrgetter("reported_usd"), modes)
    yield from money(honest.COLUMNS, attrgetter("ours_usd"), modes)
    yield from money(_LOW, attrgetter("low_usd"), modes)
    yield from money(_HIGH, attrgetter("high_usd"), modes)
    yield from money(_DIFFERENCE, attrgetter("difference_usd"), modes)
    yield Column("ratio", "reported / ours", "ratio"), attrgetter("ratio")


def _notes(
    connection: duckdb.DuckDBPyConnection, window: Window, found: Sequence[_Compared]
) -> Iterator[str]:
    if not found:
        yield f"no call says what it cost, from {window}"
        return
    yield from honest.undeclared_plans(connection, window)
    totals = [one for one in found if one.is_total]
    if nothing := sum(one.calls_reported_as_nothing for one in totals):
        yield f"{nothing} calls are reported as 0, as senders without a price do: all they cost is in the difference"
    if only := sum(one.calls_only_reported for one in totals):
        yield f"{only} calls have a reported cost and none of ours: they are in no amount; cost_note says why"


def _differences(connection: duckdb.DuckDBPyConnection, window: Window) -> Iterator[Finding]:
    statement = sql.read("reported_differences.sql").format(
        window_calls=sql.read("reported_calls.sql"), most=_MOST, examples=_EXAMPLES
    )
    found = connection.execute(statement, window.parameters()).fetchall()
    for service, model, mode, calls, measured, reported, cost, cost_notes, examples in found:
        about = {"service": service, "model": model}
        whose = f"{honest.said(service or '(no name)')}, {honest.said(model or '(no model)')}"
        yield Finding(
            finding_id("reported-cost", "difference", about, mode),
            f"{calls:,} calls of {whose}: {reported:,.6f} USD reported by the sender,"
            f" {honest.label(mode)} {cost:,.6f} USD",
            evidence={
                "calls": calls,
                "calls_with_ours_measured": measured,
                "reported_by_the_sender": honest.Amount(mode, reported),
                "ours": honest.Amount(mode, cost),
                "cost_notes": cost_notes or [],
            },
            caveats=("neither figure is the bill: it may hold discounts that no list price knows",),
            dimension=about,
            examples=tuple(examples),
            action=(
                "look up one of these calls in the provider's invoice or usage page; where the sender is right, give "
                "its price under `prices` in the configuration"
            ),
            kind="difference",
        )

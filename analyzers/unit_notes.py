"""What a reader must know beside the figures of `unit-cost`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import duckdb

from analyzers import honest, sql
from analyzers.month import Month
from analyzers.unit_figures import STATISTICS, Unit
from analyzers.unit_settings import Asked
from analyzers.window import Window

_VERDICTS = {True: "yes", False: "no", None: "unknown, as some costs are"}


def unit_notes(
    connection: duckdb.DuckDBPyConnection,
    window: Window,
    asked: Asked,
    found: Sequence[Unit],
    month: Month | None,
) -> Iterator[str]:
    """``found``: every row of the report, totals last."""
    totals = [one for one in found if one.is_total]
    if not totals:
        yield f"no calls from {window}"
        return
    yield from honest.undeclared_plans(connection, window)
    for total in totals:
        yield from _per_unit(total, asked)
    yield from _without_unit(found, totals, asked)
    yield from _not_shown(found, totals)
    yield from _brackets(totals)
    yield from _without_cost(connection, window, totals)
    yield from _month(asked, month, totals)


def _per_unit(total: Unit, asked: Asked) -> Iterator[str]:
    name, label = asked.by.name, honest.label(total.pricing_mode)
    if total.units_with_cost:
        told = ", ".join(
            f"{statistic} {_dollars(amount)}"
            for statistic, amount in zip(STATISTICS, total.statistics(), strict=True)
        )
        yield f"{label} per {name}, of {total.units_with_cost:,} with a known cost: {told}"
    if total.units:
        per_success = (
            f"; of what all cost, that is {_dollars(total.per_success_usd)} for each"
            if total.per_success_usd is not None
            else ""
        )
        yield f"{label}: {total.successful_units:,} of {total.units:,} units ({name}) succeeded{per_success}"
    if asked.unit_budget is not None and total.units:
        verdict = _VERDICTS[total.all_under_budget]
        yield f"{label}: every {name} within the budget of {_dollars(asked.unit_budget)}: {verdict}"
    if total.incomplete_units:
        yield (
            f"{label}: {total.incomplete_units:,} of {total.units:,} units ({name}) have calls without a known cost:"
            " what they cost is at least what stands here"
        )


def _without_unit(found: Sequence[Unit], totals: Sequence[Unit], asked: Asked) -> Iterator[str]:
    without = sum(one.calls for one in found if one.unit is None and not one.is_total)
    if without:
        yield (
            f"{without:,} of {_calls(totals):,} calls have no {asked.by.name}, or several that contradict each other:"
            " they have a row of their own and are in no figure per unit"
        )
    if asked.by.join and without == _calls(totals):
        yield f"no call has an attribute {asked.by.name!r}; `by` takes an attribute's key or a dimension of `cost`"


def _not_shown(found: Sequence[Unit], totals: Sequence[Unit]) -> Iterator[str]:
    shown = sum(one.unit is not None for one in found)
    units = sum(total.units or 0 for total in totals)
    if shown < units:
        yield f"{shown:,} of {units:,} units are shown, the dearest; all are in the totals (top: 0 shows all)"


def _brackets(totals: Sequence[Unit]) -> Iterator[str]:
    for total in totals:
        if total.cost_low_usd != total.cost_high_usd:
            yield (
                f"{honest.label(total.pricing_mode)}: between {_dollars(total.cost_low_usd)} and"
                f" {_dollars(total.cost_high_usd)}, as cost_note of these calls says"
            )


def _without_cost(
    connection: duckdb.DuckDBPyConnection, window: Window, totals: Sequence[Unit]
) -> Iterator[str]:
    missing = sum(total.calls_without_cost for total in totals)
    if missing:
        reasons = connection.execute(sql.read("cost_gaps.sql"), window.parameters()).fetchall()
        listed = ", ".join(f"{calls} {reason}" for reason, calls in reasons)
        yield f"{missing:,} of {_calls(totals):,} calls have no known cost and are in no sum of money: {listed}"


def _month(asked: Asked, month: Month | None, totals: Sequence[Unit]) -> Iterator[str]:
    if month is None:
        if asked.budget is not None:
            yield "no call is billed per use (pricing mode api): nothing is spent of the budget per month"
        return
    at_least = " at least" if month.calls_without_cost else ""
    yield (
        f"spend in {month.name}:{at_least} {_dollars(month.spend)} so far; {_dollars(month.projected)} at its end,"
        " if calls of all kinds go on for the rest of the month at this window's pace"
    )
    if asked.budget is not None:
        yield _headroom(
            asked.by.name, asked.budget, month, next(one for one in totals if one.pricing_mode == "api")
        )


def _headroom(name: str, budget: Decimal, month: Month, api: Unit) -> str:
    left = month.units_left(budget, api.mean_usd)
    given = f"the budget of {_dollars(budget)} for {month.name}"
    if left is None:
        return f"how many more units ({name}) {given} allows is unknown: nothing is known of what one costs"
    most = "at most" if month.calls_without_cost or api.incomplete_units else "about"
    return (
        f"{given} leaves room for {most} {left:,} more units ({name}), if each costs the window's mean"
        f" of {_dollars(api.mean_usd)} and nothing else is spent"
    )


def _calls(totals: Sequence[Unit]) -> int:
    return sum(total.calls for total in totals)


def _dollars(amount: Decimal | None) -> str:
    """Six digits after the point, as the tables have them; the JSON has all."""
    return "an unknown amount" if amount is None else f"{amount:,.6f} USD"

"""How much of each configured budget is used, how fast, and how its period is likely to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

import duckdb

from analyzers import honest, setting
from analyzers.budget_findings import findings, left_out
from analyzers.budget_standing import Standing, standings
from analyzers.budget_terms import DIMENSIONS, Budget
from analyzers.cost import dimensions
from analyzers.fields import Field, money
from analyzers.finding import Column, Report
from analyzers.month import until
from analyzers.registry import register
from analyzers.setting import Setting
from analyzers.statistics import FEWEST_DAYS
from analyzers.window import Window

_DEFAULT_TOP: Final = 20
Amount = Callable[[Standing], Decimal | None]


@register(
    "budget",
    help="how much of each budget is used, how fast, when it will be used up, and by whom",
    settings=(
        Setting("top", "most values to show of a budget of each; 0 = all", setting.count, _DEFAULT_TOP),
    ),
    needs=("account_plans", "budgets", "now"),
)
def budget(connection: duckdb.DuckDBPyConnection, window: Window, settings: dict[str, Any]) -> Report:
    """One row per budget, of a budget of each per value, in the period in which the window ends, whenever that began.

    A budget in dollars counts spend (mode api) alone, one in tokens every call's input, cached or not, and output.
    Findings: what is exceeded, what is nearly used up, and what will be exceeded at the pace of the days before.
    """
    budgets: Sequence[Budget] = settings["budgets"]
    there = {*DIMENSIONS, *dimensions(connection, window)}
    counted = [one for one in budgets if there.issuperset(one.dimensions)]
    over = until(window, settings["now"])
    found = standings(connection, counted, settings["account_plans"], over.end, window.timezone)
    fields = list(_fields())
    shown = list(_shown(found.every, settings["top"]))
    return Report(
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(read(one) for _, read in fields) for one in shown),
        notes=(
            *_unusable(budgets, there),
            *_not_shown(found.every, shown, found.further),
            *(
                f"{name}: {calls} calls have no value and are in no budget"
                for name, calls in found.without_value.items()
            ),
            *_not_counted(found.every),
            *_undeclared(connection, over, found.every),
            *_no_projection(found.every),
        ),
        findings=tuple(findings(connection, found.every)),
    )


def _shown(every: Iterable[Standing], top: int) -> Iterator[Standing]:
    seen: dict[str, int] = {}
    for one in every:
        seen[one.budget.name] = seen.get(one.budget.name, 0) + 1
        if not top or seen[one.budget.name] <= top:
            yield one


def _fields() -> Iterator[Field]:
    yield Column("budget", "budget", "text"), lambda one: one.budget.name
    yield Column("of", "of", "text"), lambda one: ", ".join(f"{k} {v}" for k, v in one.about.items()) or None
    yield Column("period", "period", "text"), lambda one: one.budget.period
    yield Column("first_day", "from", "date"), lambda one: one.span.first_day
    yield Column("next_day", "until before", "date"), lambda one: one.span.next_day
    yield Column("state", "state", "text"), attrgetter("state")
    yield Column("action", "action", "text"), lambda one: one.budget.action
    yield Column("used", "used", "ratio"), attrgetter("used_share")
    yield from _amounts("{}", "{}", attrgetter("amount"))
    yield honest.BUDGET, lambda one: one.budget.usd
    yield Column("budget_tokens", "budget, tokens", "count"), lambda one: one.budget.tokens
    yield honest.BUDGET_LEFT, lambda one: one.left if one.pricing_mode else None
    yield (
        Column("tokens_left", "tokens left", "count"),
        lambda one: None if one.pricing_mode else int(one.left),
    )
    yield Column("calls", "calls", "count"), attrgetter("calls")
    yield Column("calls_unknown", "calls of unknown use", "count"), attrgetter("calls_unknown")
    yield from _amounts("{}_per_day", "{} a day", attrgetter("per_day"))
    yield Column("trend", "last 7 days against the 7 before", "ratio"), attrgetter("trend")
    for end in ("low", "expected", "high"):
        yield from _amounts(f"projected_{{}}_{end}", f"{{}} at the period's end, {end}", _projected(end))
    yield Column("used_up_on", "used up on", "date"), attrgetter("used_up_on")
    yield Column("models", "models that used most", "text"), attrgetter("models")
    yield Column("agents", "agents that used most", "text"), attrgetter("agents")


def _amounts(name: str, label: str, read: Amount) -> Iterator[Field]:
    """One column of spend, one of tokens: a budget has one of the two."""
    yield from money(honest.columns(name, label), read, {"api"})
    yield (
        Column(name.format("tokens"), label.format("tokens"), "count"),
        lambda one: None if one.pricing_mode or (amount := read(one)) is None else int(amount),
    )


def _projected(end: str) -> Amount:
    return lambda one: one.projected(getattr(one.rest, end)) if one.rest else None


# --- notes


def _unusable(budgets: Sequence[Budget], there: set[str]) -> Iterator[str]:
    if not budgets:
        yield "no budgets are configured (`budgets:` in the configuration file, which --config names)"
    for one in budgets:
        for name in sorted({*one.dimensions} - there):
            yield f"{one.name} cannot be counted: calls have no dimension {name!r} yet, the server's next start adds it"


def _not_shown(
    every: Sequence[Standing], shown: Sequence[Standing], further: Mapping[str, int]
) -> Iterator[str]:
    for name in dict.fromkeys(one.budget.name for one in every):
        hidden = sum(one.budget.name == name for one in every) - sum(one.budget.name == name for one in shown)
        if hidden + further.get(name, 0):
            yield f"{name}: {hidden + further.get(name, 0)} further values are not shown; they used less"


def _not_counted(every: Sequence[Standing]) -> Iterator[str]:
    """Per budget, what its figures leave out; of all its values together."""
    for name in dict.fromkeys(one.budget.name for one in every):
        those = [one for one in every if one.budget.name == name]
        yield from (f"{name}: {said}" for said in left_out(those))


def _undeclared(
    connection: duckdb.DuckDBPyConnection, over: Window, every: Sequence[Standing]
) -> tuple[str, ...]:
    missing = [one for one in every if one.budget.unit == "usd" and one.undeclared_calls]
    if not missing:
        return ()
    start = min(one.span.start for one in missing)
    return honest.undeclared_plans(connection, Window(start, over.end, over.timezone))


def _no_projection(every: Sequence[Standing]) -> Iterator[str]:
    if every and all(one.rest is None for one in every):
        yield f"the lake has fewer than {FEWEST_DAYS} whole days before today: nothing is projected"

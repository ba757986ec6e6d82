"""What a page shows of single analyzers beside their tables: the window at a glance, budgets, units, what changed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from analyzers import honest
from analyzers.compare import SURE
from collector.cli.html import figures
from collector.cli.html.chart import Bar, Bars, Chart
from collector.cli.report import Result

Row = Mapping[str, Any]

_MOST_BUDGETS: Final = 12
_MOST_UNITS: Final = 10
# A budget's bar ends here, in times the budget; what is beyond is said in words.
_LONGEST: Final = 1.5
_PERIODS: Final = {"day": "today", "week": "this week", "month": "this month", "cycle": "this billing cycle"}
# The worst first, and what people call them.
STATES: Final = {"exceeded": "exceeded", "warn": "nearly used up", "ok": "within budget"}
_WORST_FIRST: Final = tuple(STATES)


def amount(row: Row, name: str = "{}_usd") -> Any:
    """The money of a row under its mode's own name (``honest.columns``); None where it is not known."""
    return row.get(name.format(_CALLED[row["pricing_mode"]]))


_CALLED: Final = {
    mode: column.name.removesuffix("_usd") for mode, column in zip(honest.MODES, honest.COLUMNS, strict=True)
}


# --- at a glance


@dataclass(frozen=True, slots=True)
class Glance:
    """One pricing mode: what it cost, in few words."""

    label: str
    amount: str
    facts: list[tuple[str, str]]
    change: str | None


def glances(cost: Result, compare: Result | None) -> list[Glance]:
    changes = {row["pricing_mode"]: _change(row) for row in compare["totals"]} if compare else {}
    return [
        Glance(
            label=honest.label(row["pricing_mode"]),
            amount=figures.usd(amount(row)),
            facts=[*_facts(row)],
            change=changes.get(row["pricing_mode"]),
        )
        for row in cost["totals"]
    ]


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    yield "calls", f"{row['calls']:,}"
    yield "input tokens", figures.tokens(row["input_tokens"])
    yield "output tokens", figures.tokens(row["output_tokens"])
    if row["cache_share"] is not None:
        yield "of the input from the cache", figures.share(row["cache_share"])
    yield "of the calls failed", figures.share(row["error_rate"])
    if row["calls_without_cost"]:
        yield "calls without a known cost, in no sum", f"{row['calls_without_cost']:,}"


def _change(row: Row) -> str | None:
    before, after = (amount(row, f"{{}}_{when}_usd") for when in ("before", "after"))
    if before is None or after is None:
        return None
    if (p_value := row.get("p_value")) is None:
        judged = "too few days to judge"
    elif float(p_value) < SURE:
        judged = "more than days differ anyway"
    else:
        judged = "no more than days differ anyway"
    return f"{figures.change(before, after)}, {judged}"


# --- what changed


def bridges(compare: Result) -> Iterator[Chart]:
    """Per pricing mode the way from one window's cost to the other's, of calls whose cost is known in both."""
    for row in compare["totals"]:
        steps = [*_bridge(row)]
        if all(value is not None for _, value in steps):
            yield Chart(
                anchor=f"change-{row['pricing_mode']}",
                kind="bridge",
                title=f"What made the change: {honest.label(row['pricing_mode'])}",
                data={
                    "unit": "USD",
                    "steps": [{"name": name, "value": float(value)} for name, value in steps],
                },
                headings=["step", "USD"],
                rows=[[name, figures.usd(value)] for name, value in steps],
            )


def _bridge(row: Row) -> Iterator[tuple[str, Any]]:
    """The first and the last are sums, the others what leads from one to the other."""
    yield "before", amount(row, "{}_before_usd")
    yield "number of calls", amount(row, "volume_effect_{}_usd")
    yield "kinds of call", amount(row, "mix_effect_{}_usd")
    yield "cost of a call", amount(row, "price_effect_{}_usd")
    yield "after", amount(row, "{}_after_usd")


# --- budgets


@dataclass(frozen=True, slots=True)
class BudgetBar:
    """Parts of the bar are 0 to 1 of its whole length; ``limit`` is where the budget is used up, ``elapsed`` how much
    of it would be used by now at an even pace. None is unknown."""

    name: str
    state: str
    used: str
    pace: str | None
    projected: str | None
    used_to: float | None
    limit: float
    elapsed: float
    low: float | None
    high: float | None


def budget_states(budget: Result) -> str:
    """How many are in which state, the worst first; nothing where there are no budgets."""
    states = Counter(row["state"] for row in budget["rows"])
    return ", ".join(f"{states[state]} {STATES[state]}" for state in _WORST_FIRST if states[state])


def budget_bars(budget: Result, now: dt.datetime) -> tuple[list[BudgetBar], int]:
    """The worst first, and how many further ones there are."""
    rows = sorted(
        budget["rows"],
        key=lambda row: (_WORST_FIRST.index(row["state"]), -float(row["used"] or 0), str(row["budget"])),
    )
    at = now.astimezone(ZoneInfo(budget["window"]["timezone"])).replace(tzinfo=None)
    return [_budget_bar(row, at) for row in rows[:_MOST_BUDGETS]], max(0, len(rows) - _MOST_BUDGETS)


_IN_DOLLARS: Final = (
    "budget_usd",
    "spend_usd",
    "spend_per_day_usd",
    "projected_spend_low_usd",
    "projected_spend_high_usd",
)
_IN_TOKENS: Final = (
    "budget_tokens",
    "tokens",
    "tokens_per_day",
    "projected_tokens_low",
    "projected_tokens_high",
)


class _Measured(NamedTuple):
    """A budget's figures in its own unit; None is unknown."""

    unit: str
    said: Callable[[Any], str]
    limit: Any
    used: Any
    per_day: Any
    low: Any
    high: Any


def _measured(row: Row) -> _Measured:
    if row["budget_usd"] is not None:
        return _Measured("USD", figures.usd, *(row[name] for name in _IN_DOLLARS))
    return _Measured("tokens", figures.tokens, *(row[name] for name in _IN_TOKENS))


def _budget_bar(row: Row, now: dt.datetime) -> BudgetBar:
    unit, said, limit, used, per_day, low, high = _measured(row)
    parts = [
        None if value is None or not limit else float(Decimal(value) / Decimal(limit))
        for value in (used, low, high)
    ]
    whole = min(_LONGEST, max([1.0, *(part for part in parts if part is not None)]))
    used_to, low_at, high_at = (_within(part, whole) for part in parts)
    spent = "spend: " if unit == "USD" else ""
    return BudgetBar(
        name=f"{row['budget']}: {row['of']}" if row["of"] else row["budget"],
        state=row["state"],
        used=f"{spent}{said(used)} of {said(limit)} {unit} {_PERIODS[row['period']]}",
        pace=None if per_day is None else f"{said(per_day)} {unit} a day lately{_trend(row)}",
        projected=None
        if low is None or high is None
        else f"{_between(low, high, said)} {unit} at its end{_end(row)}",
        used_to=used_to,
        limit=1 / whole,
        elapsed=_elapsed(row, now) / whole,
        low=low_at,
        high=high_at,
    )


def _between(low: Any, high: Any, said: Callable[[Any], str]) -> str:
    return said(low) if low == high else f"{said(low)} to {said(high)}"


def _trend(row: Row) -> str:
    """Of the last seven days."""
    return "" if row["trend"] is None else f" ({figures.signed(row['trend'])} against the week before)"


def _end(row: Row) -> str:
    return "" if row["used_up_on"] is None else f"; used up on {row['used_up_on']}"


def _within(part: float | None, whole: float) -> float | None:
    return None if part is None else min(1.0, max(0.0, part / whole))


def _elapsed(row: Row, now: dt.datetime) -> float:
    first, after = (
        dt.datetime.combine(dt.date.fromisoformat(str(row[name])), dt.time())
        for name in ("first_day", "next_day")
    )
    return min(1.0, max(0.0, (now - first) / (after - first)))


# --- units


def unit_bars(units: Result) -> Iterator[Bars]:
    """Per pricing mode the dearest, and what a unit costs in the middle and at the end."""
    dimension = units["columns"][0]
    for total in units["totals"]:
        mode = total["pricing_mode"]
        priced = [
            (row[dimension["name"]], Decimal(amount(row)))
            for row in units["rows"]
            if row["pricing_mode"] == mode and amount(row) is not None
        ]
        dearest = sorted(priced, key=lambda pair: -pair[1])[:_MOST_UNITS]
        # Without `units`, no call of this mode says which unit it is of.
        if total["units"] and dearest and dearest[0][1] > 0:
            longest = dearest[0][1]
            yield Bars(
                f"The dearest by {dimension['label']}, of {total['units']:,}: {honest.label(mode)}",
                [
                    Bar(name or "(none)", f"{figures.usd(usd)} USD", float(usd / longest))
                    for name, usd in dearest
                ],
                [*_typical(total)],
            )


def _typical(total: Row) -> Iterator[str]:
    statistics = [
        (words, amount(total, f"{{}}_per_unit_{statistic}_usd"))
        for statistic, words in (("median", "half cost at most"), ("p95", "95 % at most"))
    ]
    if all(value is not None for _, value in statistics):
        said = ", ".join(f"{words} {figures.usd(value)} USD" for words, value in statistics)
        yield f"of those with a known cost, {said}"

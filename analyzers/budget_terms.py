"""What a budget is: how much of what may be used, by whom, in which period. Without any database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from analyzers.cycle import cycle_of, next_cycle
from analyzers.window import midnight
from semconv.settings import AccountPlan

Unit = Literal["usd", "tokens"]
Length = Literal["day", "week", "month", "cycle"]
Action = Literal["warn", "fail", "skip"]
State = Literal["ok", "warn", "exceeded"]

# What a budget can be for besides the configured dimensions, with what a call has there. A caller knows the model that
# it will ask for, not yet the one that will answer.
DIMENSIONS: Final[Mapping[str, str]] = {
    "provider": "provider",
    "model": "coalesce(request_model, response_model)",
    "billing_account": "billing_account",
    "service": "service_name",
    "agent": "agent_name",
    "user": "user_id",
    "session": "session_id",
}
# Its billing cycle is what a budget of period `cycle` follows.
ACCOUNT: Final = "billing_account"


@dataclass(frozen=True, slots=True)
class Budget:
    """So much in each period: US dollars of spend (pricing mode api), or tokens of any call; one of the two.

    ``scope``: the dimension's value that a call must have, of each dimension named; none: every call. ``each``: every
    value of that dimension has the whole amount. ``warn_at``: the share from which on it is nearly used up.
    """

    name: str
    usd: Decimal | None = None
    tokens: int | None = None
    scope: Mapping[str, str] = field(default_factory=dict)
    each: str | None = None
    period: Length = "month"
    action: Action = "warn"
    warn_at: Decimal = Decimal("0.8")

    def __post_init__(self) -> None:
        if (self.usd is None) == (self.tokens is None):
            raise ValueError(f"budget {self.name!r}: expected one of usd and tokens")

    @property
    def unit(self) -> Unit:
        return "tokens" if self.usd is None else "usd"

    @property
    def limit(self) -> Decimal | int:
        """In its unit."""
        limit = self.tokens if self.usd is None else self.usd
        assert limit is not None  # noqa: S101 - checked above
        return limit

    @property
    def dimensions(self) -> tuple[str, ...]:
        return (*self.scope, *([self.each] if self.each else []))

    def state(self, used: Decimal | int) -> State:
        if used >= self.limit:
            return "exceeded"
        return "warn" if used >= self.limit * self.warn_at else "ok"

    def about(self, value: str | None) -> dict[str, str | None]:
        """What the budget, or its part of one value of ``each``, is for."""
        return {**self.scope, **({self.each: value} if self.each else {})}


class Span(NamedTuple):
    """Of a period: aware UTC, half-open, and its local days."""

    start: dt.datetime
    end: dt.datetime
    first_day: dt.date
    next_day: dt.date


def span(period: Length, moment: dt.datetime, timezone: str, cycle_start_day: int = 1) -> Span:
    """The period of the calendar of ``timezone`` that ``moment`` (aware) is in; a week begins on Monday (ISO 8601)."""
    zone = ZoneInfo(timezone)
    day = moment.astimezone(zone).date()
    if period == "day":
        first, following = day, day + dt.timedelta(days=1)
    elif period == "week":
        first = day - dt.timedelta(days=day.weekday())
        following = first + dt.timedelta(days=7)
    else:
        start_day = cycle_start_day if period == "cycle" else 1
        first = cycle_of(day, start_day)
        following = next_cycle(first, start_day)
    return Span(midnight(first, zone), midnight(following, zone), first, following)


def spans(
    budget: Budget, moment: dt.datetime, timezone: str, plans: Iterable[AccountPlan]
) -> dict[str | None, Span]:
    """The budget's period, by value of ``each`` where accounts have cycles of their own; None: all others'."""
    if budget.period != "cycle":
        return {None: span(budget.period, moment, timezone)}
    days = start_days(plans, moment.astimezone(dt.UTC).date())
    if budget.each == ACCOUNT:
        found: dict[str | None, Span] = {None: span("cycle", moment, timezone)}
        found.update((account, span("cycle", moment, timezone, day)) for account, day in days.items())
        return found
    return {None: span("cycle", moment, timezone, days.get(budget.scope[ACCOUNT], 1))}


def start_days(plans: Iterable[AccountPlan], day: dt.date) -> dict[str, int]:
    """On which day of a month each account's cycle begins, by the plan it has on that day (UTC)."""
    ordered = sorted(plans, key=lambda plan: plan.since or dt.date.min)
    return {plan.account: plan.cycle_start_day for plan in ordered if (plan.since or dt.date.min) <= day}


def check(budgets: Sequence[Budget], configured: Iterable[str]) -> None:
    """Raises BadBudget for what cannot be counted or told apart."""
    known = {*DIMENSIONS, *configured}
    names: set[str] = set()
    for index, budget in enumerate(budgets):
        if budget.name in names:
            raise BadBudget(index, "name", f"{budget.name!r} is there already; give each budget its own")
        names.add(budget.name)
        for dimension in budget.dimensions:
            if dimension not in known:
                key = "each" if dimension == budget.each else "scope"
                allowed = ", ".join(sorted(known))
                raise BadBudget(index, key, f"there is no dimension {dimension!r}; allowed: {allowed}")
        if budget.each in budget.scope:
            raise BadBudget(index, "each", f"{budget.each} has one value here, as scope says")
        if budget.period == "cycle" and ACCOUNT not in budget.dimensions:
            raise BadBudget(index, "period", f"a billing cycle is an account's: name one in scope.{ACCOUNT}")


class BadBudget(ValueError):  # noqa: N818 - the name says what is the case
    """``index`` and ``key``: which entry's key is to change."""

    def __init__(self, index: int, key: str, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.key = key

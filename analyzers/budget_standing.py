"""Where each budget stands: what was used of it in its period, what is left, and how the period is likely to end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import duckdb

from analyzers import budget_projection, honest, sql
from analyzers.budget_cells import cells_sql, used_sql
from analyzers.budget_projection import DAYS_LOOKED_AT, Day, Pace, Rest
from analyzers.budget_terms import Budget, Span, State, spans
from analyzers.window import Window, midnight
from semconv.settings import AccountPlan
from semconv.sqltext import literal

# Of one budget of each: more are counted, and said to be there.
MOST_VALUES: Final = 200
_TIME: Final = "CAST({local} AS DATE) AS day, CAST({local} AS TIME) >= $clock AS is_later"


class Moment(NamedTuple):
    """As of when it is asked, and whose days count; ``first_call``: of the lake, naive UTC, None where it has none."""

    now: dt.datetime
    timezone: str
    first_call: dt.datetime | None

    @property
    def local(self) -> dt.datetime:
        return self.now.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None)

    @property
    def today(self) -> dt.date:
        return self.local.date()

    @property
    def days_before(self) -> list[dt.date]:
        """The whole days before today that are looked at, but for those before the first call and its own."""
        if self.first_call is None:
            return []
        began = Moment(self.first_call.replace(tzinfo=dt.UTC), self.timezone, None).today
        count = min(DAYS_LOOKED_AT, max(0, (self.today - began).days - 1))
        return [self.today - dt.timedelta(days=back) for back in range(count, 0, -1)]


class _Row(NamedTuple):
    """One row of budget.sql. `value` is NULL for calls without a value of `each`."""

    budget: int
    value: str | None
    first_day: dt.date
    next_day: dt.date
    calls: int
    amount: Decimal
    calls_unknown: int
    subscription_calls: int
    local_calls: int
    undeclared_calls: int
    further_values: int
    days: list[dict[str, Any]]
    models: list[dict[str, Any]] | None
    agents: list[dict[str, Any]] | None


@dataclass(frozen=True)
class Standing:
    """Of a budget, or of one value of a budget of each, in the period of ``moment``. Amounts in the budget's unit."""

    budget: Budget
    value: str | None
    span: Span
    moment: Moment
    amount: Decimal
    calls: int = 0
    calls_unknown: int = 0  # without a cost, or without tokens
    subscription_calls: int = 0
    local_calls: int = 0
    undeclared_calls: int = 0
    days: Sequence[Day] = ()  # those that used something
    models: str | None = None
    agents: str | None = None

    @property
    def pricing_mode(self) -> str | None:
        """What its money is: spend, or none."""
        return "api" if self.budget.unit == "usd" else None

    @property
    def state(self) -> State:
        return self.budget.state(self.amount)

    @property
    def about(self) -> dict[str, str | None]:
        return self.budget.about(self.value)

    @property
    def left(self) -> Decimal:
        return self.budget.limit - self.amount

    @property
    def used_share(self) -> float:
        return float(self.amount / self.budget.limit)

    def figure(self, amount: float | Fraction | Decimal | None) -> Decimal | None:
        """Money to the places that it has, tokens as whole ones."""
        if amount is None:
            return None
        return honest.rounded(Fraction(amount)) if self.budget.unit == "usd" else Decimal(round(amount))

    @cached_property
    def _days_before(self) -> list[Day]:
        used = {day.date: day for day in self.days}
        return [used.get(date, Day(date, 0.0, 0.0)) for date in self.moment.days_before]

    @cached_property
    def pace(self) -> Pace | None:
        """None where nobody knows: too few days, or none of the period's calls says what it used."""
        if self.calls_unknown and not self.amount:
            return None
        return budget_projection.pace(self._days_before)

    @cached_property
    def rest(self) -> Rest | None:
        """Of the period; None where too few days went before."""
        return self.pace.rest(self.moment.today, self.span.next_day) if self.pace else None

    @property
    def per_day(self) -> Decimal | None:
        """Of the last seven whole days, or as many as there are."""
        last = self._days_before[-7:]
        return self.figure(sum(day.amount for day in last) / len(last)) if last else None

    @property
    def trend(self) -> float | None:
        return budget_projection.trend(self._days_before)

    def projected(self, rest: float | None) -> Decimal | None:
        """The period's end with so much more."""
        return None if rest is None else self.amount + (self.figure(rest) or 0)

    @property
    def used_up_on(self) -> dt.date | None:
        """The day on which it was, or is expected to be; None: not in this period, or not known."""
        if self.state == "exceeded":
            return self._crossed_on()
        if self.pace is None:
            return None
        return self.pace.reached(float(self.left), self.moment.today, self.span.next_day)

    def _crossed_on(self) -> dt.date:
        used = 0.0
        for day in sorted(self.days):
            used += day.amount if day.date >= self.span.first_day else 0.0
            # Sums of doubles may miss a limit that is met exactly.
            if used >= float(self.budget.limit) * (1 - 1e-12):
                return day.date
        return self.moment.today

    @property
    def will_exceed(self) -> float | None:
        """How likely chance alone lets it look so: the probability that the rest of the period fits into what is left.
        None where it is exceeded already, or nobody knows."""
        if self.rest is None or self.state == "exceeded":
            return None
        return self.rest.p_value(float(self.left))


class Standings(NamedTuple):
    """By the budget's name: ``without_value``, calls that are in no value of a budget of each; ``further``, values that
    are not looked at."""

    every: list[Standing]
    without_value: Mapping[str, int]
    further: Mapping[str, int]


def standings(
    connection: duckdb.DuckDBPyConnection,
    budgets: Sequence[Budget],
    plans: Iterable[AccountPlan],
    now: dt.datetime,
    timezone: str,
) -> Standings:
    """As of ``now`` (aware), in the order of the budgets; of a budget of each those values first that used most."""
    if not budgets:
        return Standings([], {}, {})
    first = connection.execute("SELECT min(start_time) FROM calls").fetchone()
    moment = Moment(now, timezone, first[0] if first else None)
    periods = [spans(budget, now, timezone, plans) for budget in budgets]
    window = _window(moment, periods)
    parameters = {**window.parameters(), "clock": moment.local.time()}
    answer = connection.execute(_sql(budgets, periods, window), parameters)
    rows = [_Row(*row) for row in answer.fetchall()]
    found = {row.budget for row in rows}
    every = [
        _standing(budgets[row.budget], row, periods[row.budget], moment)
        for row in rows
        if row.value is not None
    ]
    unused = [
        Standing(budget, "", periods[number][None], moment, Decimal(0))
        for number, budget in enumerate(budgets)
        if number not in found and budget.each is None
    ]
    order = {budget.name: number for number, budget in enumerate(budgets)}
    return Standings(
        sorted([*every, *unused], key=lambda one: order[one.budget.name]),
        {budgets[row.budget].name: row.calls for row in rows if row.value is None},
        {
            budgets[row.budget].name: row.further_values - MOST_VALUES
            for row in rows
            if row.further_values > MOST_VALUES
        },
    )


def _sql(budgets: Sequence[Budget], periods: Sequence[Mapping[str | None, Span]], window: Window) -> str:
    time = _TIME.format(local=window.local_time_sql())
    carried = ("day", "is_later", '"of_model" AS model', '"of_agent" AS agent')
    return sql.read("budget.sql").format(
        cells=cells_sql(budgets, time, ("model", "agent")),
        used=used_sql(dict(enumerate(budgets)), carried),
        periods=", ".join(_periods(periods)),
        top=MOST_VALUES,
    )


def _periods(periods: Sequence[Mapping[str | None, Span]]) -> Iterator[str]:
    for number, by_value in enumerate(periods):
        for value, of in by_value.items():
            name = "CAST(NULL AS VARCHAR)" if value is None else literal(value)
            yield f"({number}, {name}, DATE '{of.first_day}', DATE '{of.next_day}')"


def _window(moment: Moment, periods: Sequence[Mapping[str | None, Span]]) -> Window:
    """From the first day of any of the periods, or of those looked at, until now, be it the first moment of a day."""
    firsts = [of.first_day for by_value in periods for of in by_value.values()]
    start = midnight(min([*firsts, *moment.days_before[:1]]), ZoneInfo(moment.timezone))
    return Window(min(start, moment.now - dt.timedelta(microseconds=1)), moment.now, moment.timezone)


def _standing(budget: Budget, row: _Row, periods: Mapping[str | None, Span], moment: Moment) -> Standing:
    return Standing(
        budget,
        row.value,
        periods.get(row.value) or periods[None],
        moment,
        row.amount,
        row.calls,
        row.calls_unknown,
        row.subscription_calls,
        row.local_calls,
        row.undeclared_calls,
        tuple(Day(day["day"], float(day["amount"]), float(day["later"])) for day in row.days),
        _shares(row.models, row.amount),
        _shares(row.agents, row.amount),
    )


def _shares(tops: Sequence[Mapping[str, Any]] | None, amount: Decimal) -> str | None:
    if not tops or not amount:
        return None
    return ", ".join(f"{one['name'] or 'none'} {one['amount'] / amount:.0%}" for one in tops)

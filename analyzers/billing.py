"""Billing cycles of plans, and what of their fees falls into a window."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from analyzers import honest
from analyzers.cycle import cycle_of, next_cycle
from analyzers.window import Window, midnight
from semconv.settings import AccountPlan

_ALWAYS: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_NO_END: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)


class Period(NamedTuple):
    """The part of a billing cycle in which an account was on a plan; aware UTC, half-open."""

    plan: AccountPlan
    cycle: dt.date  # the cycle's first day, in the window's time zone
    start: dt.datetime
    end: dt.datetime
    cycle_length: dt.timedelta

    def share(self, window: Window) -> Fraction:
        """Of the cycle's time, how much lies in the period and in the window: 0 to 1."""
        inside = min(self.end, window.end) - max(self.start, window.start)
        return Fraction(inside // _MICROSECOND, self.cycle_length // _MICROSECOND)


def periods(plans: Iterable[AccountPlan], window: Window) -> list[Period]:
    """Those that touch the window, whole (they may begin before it); those of one account do not overlap.

    A plan begins with its day in UTC, as the plan of a call does; a cycle with its day in the window's time zone.
    """
    by_account: dict[str, list[AccountPlan]] = {}
    for plan in plans:
        by_account.setdefault(plan.account, []).append(plan)
    return [
        period
        for history in by_account.values()
        for plan, start, end in _in_force(history)
        for period in _cycles(plan, start, end, window)
    ]


def fee(plan_periods: Sequence[Period], window: Window) -> Decimal | None:
    """What one plan's fee comes to in the window, in its currency: of each cycle's fee the share of its time.

    None where no fee is declared. Rounded once, half even, to the twelve places that money has.
    """
    declared = plan_periods[0].plan.fee_per_month
    if declared is None:
        return None
    shares = sum((period.share(window) for period in plan_periods), Fraction(0))
    return honest.rounded(Fraction(declared.amount) * shares)


def _in_force(history: list[AccountPlan]) -> Iterator[tuple[AccountPlan, dt.datetime, dt.datetime]]:
    ordered = sorted(history, key=_begins)
    ends = [*(_begins(plan) for plan in ordered[1:]), _NO_END]
    for plan, end in zip(ordered, ends, strict=True):
        yield plan, _begins(plan), end


def _begins(plan: AccountPlan) -> dt.datetime:
    return dt.datetime.combine(plan.since, dt.time(), dt.UTC) if plan.since else _ALWAYS


def _cycles(plan: AccountPlan, start: dt.datetime, end: dt.datetime, window: Window) -> Iterator[Period]:
    zone = ZoneInfo(window.timezone)
    first, last = max(start, window.start), min(end, window.end)
    if first >= last:
        return
    days = [cycle_of(first.astimezone(zone).date(), plan.cycle_start_day)]
    while midnight(days[-1], zone) < last:
        days.append(next_cycle(days[-1], plan.cycle_start_day))
    for day, next_day in pairwise(days):
        begins, ends = midnight(day, zone), midnight(next_day, zone)
        yield Period(plan, day, max(begins, start), min(ends, end), ends - begins)

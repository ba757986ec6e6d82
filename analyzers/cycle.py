"""Billing cycles by the calendar: from a day of one month to that day of the next."""

from __future__ import annotations

import calendar
import datetime as dt


def cycle_of(day: dt.date, start_day: int) -> dt.date:
    """The first day of the cycle that the day is in; a month without a day ``start_day`` has its last instead."""
    this_month = _on(day.year, day.month, start_day)
    if day >= this_month:
        return this_month
    before = day.replace(day=1) - dt.timedelta(days=1)
    return _on(before.year, before.month, start_day)


def next_cycle(day: dt.date, start_day: int) -> dt.date:
    """The first day of the cycle after the one that the day is in the month of."""
    after = day.replace(day=1) + dt.timedelta(days=31)
    return _on(after.year, after.month, start_day)


def _on(year: int, month: int, day: int) -> dt.date:
    """That day of the month, or its last."""
    return dt.date(year, month, min(day, calendar.monthrange(year, month)[1]))

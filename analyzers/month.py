"""How a month's spend will end at a window's pace, and how much of a budget is left."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

import duckdb

from analyzers import honest, sql
from analyzers.window import Window, midnight, naive_utc


class Month(NamedTuple):
    """The calendar month, in the window's time zone, in which the window ends. Money is spend (mode api) in USD."""

    name: str
    spend: Decimal | None  # from its first day until the window's end
    calls_without_cost: int  # in that time, at least
    projected: Decimal | None

    def units_left(self, budget: Decimal, unit_usd: Decimal | None) -> int | None:
        """How many whole units of that cost the budget has room for; None where that is not known."""
        if self.spend is None or not unit_usd:
            return None
        return max(int((budget - self.spend) // unit_usd), 0)


def month_of(connection: duckdb.DuckDBPyConnection, window: Window, window_spend: Decimal | None) -> Month:
    """``projected``: what is spent, and for the rest of the month the window's spend per second."""
    start, end = _bounds(window)
    found = connection.execute(
        sql.read("month_spend.sql"), {"start": naive_utc(start), "end": naive_utc(window.end)}
    ).fetchone()
    spend, without_cost = found or (None, 0)
    projected = None
    if spend is not None and window_spend is not None:
        rest = Fraction(_seconds(end - window.end)) / Fraction(_seconds(window.end - window.start))
        projected = spend + honest.rounded(Fraction(window_spend) * rest)
    return Month(f"{start.astimezone(ZoneInfo(window.timezone)):%B %Y}", spend, without_cost, projected)


def until(window: Window, now: object) -> Window:
    """The part of a window that is over ``now``, an aware time or None: what is to come was not silent."""
    if isinstance(now, dt.datetime) and window.start < now < window.end:
        return replace(window, end=now)
    return window


def _bounds(window: Window) -> tuple[dt.datetime, dt.datetime]:
    """A window that ends with a month's last moment belongs to that month."""
    zone = ZoneInfo(window.timezone)
    last = (window.end - dt.timedelta(microseconds=1)).astimezone(zone)
    first_day = last.date().replace(day=1)
    next_month = (first_day + dt.timedelta(days=31)).replace(day=1)
    return midnight(first_day, zone), midnight(next_month, zone)


def _seconds(length: dt.timedelta) -> Decimal:
    return Decimal(length // dt.timedelta(microseconds=1)) / 1_000_000

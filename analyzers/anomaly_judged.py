"""What is judged, by which days, and what came of it: a thing, such as a model, that costs something on some days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from analyzers.window import Window, naive_utc

# The chance of any at all where nothing is out of line: each is judged as one of all that were looked at (Bonferroni).
SURE: Final = 0.04
# How much of that each kind has: what concerns everybody most.
SHARES: Final = {"day": 0.4, "agent": 0.15, "model": 0.1, "user": 0.1, "session": 0.15, "fall": 0.1}
# And each side from which a day is looked at.
SIDES: Final = {"cost": 1 / 2, "sessions": 1 / 6, "calls_per_session": 1 / 6, "cost_per_call": 1 / 6}
_WEEK: Final = 7
_WEEKS_COMPARED: Final = 4


class Thing(NamedTuple):
    """A row of anomaly_days.sql: days that count from the start of the history, what they cost, and of their parts the
    number, the length and the dearness."""

    kind: str
    name: str | None
    pricing_mode: str
    days: list[int]
    costs: list[Decimal]
    parts: list[int]
    length: list[float]
    dearness: list[float]


@dataclass(frozen=True, slots=True)
class Period:
    """The calendar days of the history and of what is judged. ``first``: which is the first of the latter. ``known``:
    before which they make up what chance does; all of them where the history is short.
    """

    window: Window
    end: dt.datetime
    first: int
    known: int

    @property
    def over(self) -> int:
        """How many of its days have come to their end."""
        return (self.window.local(self.end).date() - self.date(0)).days

    def parameters(self, *names: str) -> dict[str, object]:
        """Its ends, and these of its own."""
        edges = {"start": naive_utc(self.window.start), "end": naive_utc(self.end)}
        return {**edges, **{name: getattr(self, name) for name in names}}

    def date(self, day: int) -> dt.date:
        return self.window.local(self.window.start).date() + dt.timedelta(days=day)


@dataclass(frozen=True, slots=True)
class Judged:
    """``chance``: that of any as far out among all that were looked at. ``unusual``: by what it is. ``fell``: it cost
    far less than usual, not more."""

    kind: str
    name: str | None
    pricing_mode: str
    day: int
    cost_usd: Decimal
    usual_usd: float
    chance: float
    history: int
    before: tuple[int, ...] = ()
    agent: str | None = None
    unusual: tuple[str, ...] = ("cost",)
    fell: bool = False

    @property
    def times(self) -> float:
        return float(self.cost_usd) / self.usual_usd

    @property
    def apart_usd(self) -> Decimal:
        """From the usual, to the side that it is judged for."""
        apart = self.cost_usd - Decimal(self.usual_usd)
        return -apart if self.fell else apart


def compared(days: Sequence[int], day: int) -> tuple[int, ...]:
    """The nearest four of the same weekday, or the nearest seven days where it has fewer than three."""
    nearest = sorted((one for one in days if one != day), key=lambda one: (abs(day - one), one))
    same = [one for one in nearest if (day - one) % _WEEK == 0]
    return tuple(same[:_WEEKS_COMPARED] if len(same) >= _WEEKS_COMPARED - 1 else nearest[:_WEEK])

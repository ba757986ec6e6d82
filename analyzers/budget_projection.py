"""How much will be used in the rest of a period, by what was used on the days before, and how sure that is."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Final, NamedTuple

from analyzers.statistics import CONFIDENCE, FEWEST_DAYS

# Whole days before today that are looked at: three of each weekday, and recent enough to follow a change of pace.
DAYS_LOOKED_AT: Final = 21
# With so many, weekdays are told apart.
_WEEKDAYS_FROM: Final = 14
# Ends of 95 % for what is promised to hold in 90 %, as in analyzers/statistics.py.
_NOMINAL: Final = 0.975
WILL_EXCEED_BELOW: Final = 1 - _NOMINAL


class Day(NamedTuple):
    """What was used on a whole day, and how much of it later in the day than it is now."""

    date: dt.date
    amount: float
    later: float


@dataclass(frozen=True, slots=True)
class Rest:
    """What the rest of the period is expected to use. Between ``low`` and ``high`` it will be in ``CONFIDENCE`` of all
    cases, if days go on as they were."""

    expected: float
    error: float  # standard error, of the expectation and of the days to come together
    freedom: int  # degrees of freedom of that

    @property
    def low(self) -> float:
        return max(0.0, self.expected - self._reach)

    @property
    def high(self) -> float:
        return self.expected + self._reach

    @property
    def _reach(self) -> float:
        return _t_quantile(_NOMINAL, self.freedom) * self.error

    def p_value(self, left: float) -> float:
        """How likely no more than ``left`` is used."""
        if self.error == 0:
            return float(self.expected <= left)
        return _t_below((left - self.expected) / self.error, self.freedom)


@dataclass(frozen=True, slots=True)
class Pace:
    """By weekday (0 = Monday) what a day of it uses; None where weekdays are not told apart."""

    days: Sequence[Day]

    @property
    def tells_weekdays(self) -> bool:
        return len(self.days) >= _WEEKDAYS_FROM

    def like(self, date: dt.date) -> list[Day]:
        """The days that tell what that one will use."""
        if not self.tells_weekdays:
            return list(self.days)
        return [day for day in self.days if day.date.weekday() == date.weekday()]

    def expected(self, date: dt.date) -> float:
        return fmean(day.amount for day in self.like(date))

    def rest(self, today: dt.date, next_day: dt.date) -> Rest:
        """Of the rest of today and the days until before ``next_day``.

        A day is expected to use what days like it did on average. Errors are those of the averages and of single days,
        as one variance for all: that of days around the average of those like them.
        """
        to_come = [today + dt.timedelta(days=at) for at in range(1, (next_day - today).days)]
        freedom = len(self.days) - (7 if self.tells_weekdays else 1)
        like_today = self.like(today)
        variance = self._variance({day.date: day.amount for day in self.days}, freedom)
        later = self._variance({day.date: day.later for day in self.days}, freedom)
        times = _times(to_come, by_weekday=self.tells_weekdays)
        of_averages = sum(count**2 / len(self.like(date)) for date, count in times.items())
        return Rest(
            fmean(day.later for day in like_today) + math.fsum(map(self.expected, to_come)),
            math.sqrt(later * (1 + 1 / len(like_today)) + variance * (len(to_come) + of_averages)),
            freedom,
        )

    def reached(self, left: float, today: dt.date, next_day: dt.date) -> dt.date | None:
        """On which day ``left`` will be used up, by the averages; None: not before ``next_day``."""
        date, used = today, fmean(day.later for day in self.like(today))
        while used < left:
            date += dt.timedelta(days=1)
            if date >= next_day:
                return None
            used += self.expected(date)
        return date

    def _variance(self, amounts: Mapping[dt.date, float], freedom: int) -> float:
        squares = (
            (amount - fmean(amounts[day.date] for day in self.like(date))) ** 2
            for date, amount in amounts.items()
        )
        return math.fsum(squares) / freedom


def pace(days: Iterable[Day]) -> Pace | None:
    """Of the days before today, the last ones of them; None where they are too few to tell."""
    recent = sorted(days)[-DAYS_LOOKED_AT:]
    return Pace(recent) if len(recent) >= FEWEST_DAYS else None


def trend(days: Sequence[Day]) -> float | None:
    """By how much the last seven whole days used more than the seven before, as a part of those."""
    if len(days) < 14:
        return None
    amounts = [day.amount for day in sorted(days)]
    before, last = math.fsum(amounts[-14:-7]), math.fsum(amounts[-7:])
    return last / before - 1 if before else None


def method() -> str:
    return (
        f"each day to come uses what days of its weekday did on average, of the last {DAYS_LOOKED_AT} whole days; the "
        f"interval holds in {CONFIDENCE:.0%} of cases if days go on as they were"
    )


def _times(dates: Iterable[dt.date], *, by_weekday: bool) -> dict[dt.date, int]:
    """How many of the dates are of one kind, by the first of each kind."""
    first: dict[int, dt.date] = {}
    counts: dict[dt.date, int] = {}
    for date in dates:
        kind = first.setdefault(date.weekday() if by_weekday else 0, date)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


# Student's t by the normal distribution, to some thousandths from three degrees of freedom on (Wallace 1959, Annals of
# Mathematical Statistics 30, 1124).


def _t_quantile(share: float, freedom: int) -> float:
    z = NormalDist().inv_cdf(share) / _factor(freedom)
    return math.sqrt(freedom * math.expm1(z * z / freedom))


def _t_below(t: float, freedom: int) -> float:
    z = _factor(freedom) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return NormalDist().cdf(math.copysign(z, t))


def _factor(freedom: int) -> float:
    return (8 * freedom + 1) / (8 * freedom + 3)

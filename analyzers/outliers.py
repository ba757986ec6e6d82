"""How far a day is out of line with the days before it, and how likely chance alone makes the like.

Costs are looked at as logarithms: they grow by parts and differ by parts, and a few are many times the others. What is
usual of a day is the median of the same weekday along a straight line (Theil 1950, Sen 1968); each day
is judged by all others, so that its distance is that of a day which nobody had seen.

A few huge sessions make a day dear for no reason, so that of its cost alone little can be said where sessions differ
much. How many sessions it had, how many calls these, and what a call cost is told apart far sooner.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_WEEK: Final = 7
# Fewer say less of a weekday than all days together.
_LEAST_OF_A_WEEKDAY: Final = 3
# With fewer pairs of days a line follows chance.
_LEAST_PAIRS: Final = 8
# Costs that hardly ever differ: a twentieth more is no news.
LEAST_SCALE: Final = 0.05
# The standard deviation of normal values over the median of their distances from the middle.
_NORMAL: Final = 1.4826
# The variance of a median of normal values beside that of their mean.
_OF_MEDIAN: Final = math.pi / 2
# Of normal values, and their mean square without those that are further from the middle than nine tenths of them.
_LARGEST: Final = 10
_WITHOUT_LARGEST: Final = 0.623
# The part of distances that makes the tail, and how many suffice.
_TAIL_SHARE: Final = 4
MOST_EXTREME: Final = 100
_LEAST_EXTREME: Final = 3
# Of normal values, those above the upper quartile exceed it by 0.6 deviations on average, those further out by less.
_LEAST_EXCESS: Final = 0.4


class Distance(NamedTuple):
    """Of one day from the others: the logarithm that they let expect, and how many deviations it is above that."""

    expected: float
    score: float


def distances(costs: Mapping[int, float]) -> dict[int, Distance]:
    """Of each day, of logarithms by day; any numbers stand for days as long as a week has seven. Two days or more."""
    expected = {day: others.median for day, others in _others(costs).items()}
    middle = statistics.median(abs(value - expected[day]) for day, value in costs.items())
    scale = max(LEAST_SCALE, _NORMAL * middle)
    return {day: Distance(expected[day], (value - expected[day]) / scale) for day, value in costs.items()}


def chances_of_means(means: Mapping[int, float], counts: Mapping[int, int]) -> dict[int, float]:
    """By day, how likely a day without a reason is as far above the others. Its mean is one of so many values, which
    have a deviation of 1, and are independent but for days on which all are higher or lower.
    """
    return _chances(means, {day: 1 / count for day, count in counts.items()})


def chances_of_counts(counts: Mapping[int, int], *, fewer: bool = False) -> dict[int, float]:
    """The same of how many there were of something, each for reasons of its own but for days on which there is more.
    ``fewer``: how likely a day is as far below the others."""
    # Twice the root has a variance of nearly 1, whatever the mean (Anscombe 1948).
    side = -2 if fewer else 2
    roots = {day: side * math.sqrt(count + 3 / 8) for day, count in counts.items()}
    return _chances(roots, dict.fromkeys(counts, 1.0))


def _chances(values: Mapping[int, float], variances: Mapping[int, float]) -> dict[int, float]:
    """By a t distribution: days differ by more than their variances, and by how much is only known of the others."""
    apart = {}
    for day, others in _others(values).items():
        own = math.fsum(variances[other] for other in others.days if other != day) / others.number
        apart[day] = (values[day] - others.median) / math.sqrt(
            variances[day] + _OF_MEDIAN * own / others.number
        )
    ordered = sorted(map(abs, apart.values()))
    freedom = len(apart) - 2
    return {day: _above(one / _deviation(ordered, abs(one)), freedom) for day, one in apart.items()}


def _deviation(ordered: Sequence[float], one: float) -> float:
    """Of the days but that `one`, by what they have but for the largest tenth: some of these have a reason. Days that
    differ by less than chance let them are luck."""
    others = list(ordered)
    others.remove(one)
    kept = others[: max(1, len(others) - len(others) // _LARGEST)]
    return max(1.0, math.sqrt(math.fsum(value * value for value in kept) / len(kept) / _WITHOUT_LARGEST))


def _above(t: float, freedom: int) -> float:
    """The part of a t distribution above `t`, within some parts of a hundred (Wallace 1959)."""
    if freedom < 1:
        return 1.0
    z = math.sqrt(freedom * math.log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
    return math.erfc(math.copysign(z, t) / math.sqrt(2)) / 2


class _Others(NamedTuple):
    """The days that one is judged by, itself among them, how many others they are, and the median of these for it."""

    days: Sequence[int]
    number: int
    median: float


def _others(values: Mapping[int, float]) -> dict[int, _Others]:
    """Those of the same weekday, or where they are few all, along a line."""
    slope = _slope(values)
    levels = {day: value - slope * day for day, value in values.items()}
    weekdays: dict[int, list[int]] = {}
    for day in levels:
        weekdays.setdefault(day % _WEEK, []).append(day)
    every = list(levels)
    found = {}
    for day, level in levels.items():
        days = same if len(same := weekdays[day % _WEEK]) >= _LEAST_OF_A_WEEKDAY else every
        median = _median_without([levels[other] for other in days], level)
        found[day] = _Others(days, len(days) - 1, median + slope * day)
    return found


def _slope(costs: Mapping[int, float]) -> float:
    """Per day: the median of all pairs of the same weekday."""
    days = sorted(costs)
    rises = [
        (costs[later] - costs[earlier]) / (later - earlier)
        for at, earlier in enumerate(days)
        for later in days[at + 1 :]
        if (later - earlier) % _WEEK == 0
    ]
    return statistics.median(rises) if len(rises) >= _LEAST_PAIRS else 0.0


def _median_without(values: Sequence[float], one: float) -> float:
    others = list(values)
    others.remove(one)
    return statistics.median(others)


@dataclass(frozen=True, slots=True)
class Tail:
    """How often a history of `count` distances goes far: `extremes` are the largest of them, in falling order.

    Beyond the last of these it falls off exponentially, as costs do whose own tail is a power; that its rate is known
    from as many distances only makes it heavier: what is foretold of the next is a Pareto (Lomax) distribution.
    """

    count: int
    extremes: tuple[float, ...]

    def p_value(self, score: float) -> float:
        """The part of days without a reason that are as far out or further; 1 where too few are known."""
        size = min(len(self.extremes) - 1, max(self.count // _TAIL_SHARE, _LEAST_EXTREME))
        if size < _LEAST_EXTREME:
            return 1.0
        border = self.extremes[size]
        if score <= border:
            return 1.0  # nothing that anybody would look at
        excess = max(math.fsum(self.extremes[:size]) / size - border, _LEAST_EXCESS)
        return size / self.count * (1 + (score - border) / (size * excess)) ** -size

    def without(self, score: float) -> Tail:
        """Of the others alone, where what is judged is among them."""
        if score not in self.extremes:
            return Tail(self.count - 1, self.extremes)
        others = list(self.extremes)
        others.remove(score)
        return Tail(self.count - 1, tuple(others))


def tail(scores: Sequence[float]) -> Tail:
    return Tail(len(scores), tuple(sorted(scores, reverse=True)[: MOST_EXTREME + 1]))

"""How far a day is out of line with the days before it, and how likely chance alone makes the like.

Costs are looked at as logarithms: they grow by parts and differ by parts, and a few are many times the others. What is
usual of a day is the median of the same weekday along a straight line (Theil 1950, Sen 1968); each day
is judged by all others, so that its distance is that of a day which nobody had seen.
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
    slope = _slope(costs)
    levels = {day: value - slope * day for day, value in costs.items()}
    weekdays: dict[int, list[float]] = {}
    for day, level in levels.items():
        weekdays.setdefault(day % _WEEK, []).append(level)
    every = sorted(levels.values())
    others = {
        day: _median_without(
            same if len(same := weekdays[day % _WEEK]) >= _LEAST_OF_A_WEEKDAY else every, level
        )
        for day, level in levels.items()
    }
    middle = statistics.median(abs(level - others[day]) for day, level in levels.items())
    scale = max(LEAST_SCALE, _NORMAL * middle)
    return {
        day: Distance(others[day] + slope * day, (level - others[day]) / scale)
        for day, level in levels.items()
    }


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

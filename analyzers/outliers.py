"""How far a day is out of line with the days before it, and how likely chance alone makes the like.

Costs are looked at as logarithms: they grow by parts and differ by parts, and a few are many times the others. What is
usual of a day is the median of the same weekday along a straight line (Theil 1950, Sen 1968); each day of the history
is judged by all others, so that its distance is that of a day which nobody had seen.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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


@dataclass(frozen=True, slots=True)
class Usual:
    """What one thing's days usually are. `scores`: the distances of the history's days, in units of `scale`."""

    slope: float
    levels: Mapping[int, float]  # by weekday, those with enough days
    level: float
    scale: float
    scores: tuple[float, ...]
    center: float
    spread: float  # sum of the squared distances of the days from `center`

    def expected(self, day: int) -> float:
        return self.levels.get(day % _WEEK, self.level) + self.slope * day

    def score(self, day: int, value: float) -> float:
        """How many deviations above what is usual; a line is the less sure the further it is drawn."""
        away = (day - self.center) ** 2 / self.spread if self.spread else 0.0
        return (value - self.expected(day)) / (self.scale * math.sqrt(1 + away))


def usual(history: Mapping[int, float]) -> Usual:
    """Of logarithms by day; any number stands for a day as long as a week has seven. Needs two days or more."""
    slope = _slope(history)
    level = {day: value - slope * day for day, value in history.items()}
    weekdays: dict[int, list[float]] = {}
    for day, value in level.items():
        weekdays.setdefault(day % _WEEK, []).append(value)
    told = {at: values for at, values in weekdays.items() if len(values) >= _LEAST_OF_A_WEEKDAY}
    middle = statistics.median(level.values())
    distances = [
        value - (_median_without(told[day % _WEEK], value) if day % _WEEK in told else middle)
        for day, value in level.items()
    ]
    scale = max(LEAST_SCALE, _NORMAL * statistics.median(map(abs, distances)))
    center = statistics.fmean(history)
    return Usual(
        slope,
        {at: statistics.median(values) for at, values in told.items()},
        middle,
        scale,
        tuple(one / scale for one in distances),
        center,
        math.fsum((day - center) ** 2 for day in history),
    )


def _slope(history: Mapping[int, float]) -> float:
    """Per day: the median of all pairs of the same weekday."""
    days = sorted(history)
    rises = [
        (history[later] - history[earlier]) / (later - earlier)
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


def tail(scores: Sequence[float]) -> Tail:
    return Tail(len(scores), tuple(sorted(scores, reverse=True)[: MOST_EXTREME + 1]))

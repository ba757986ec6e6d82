"""Time ranges as SQL: what bounds every look into the lake, so that only files of those times are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

HOUR: Final = dt.timedelta(hours=1)
# Times further apart than this are looked up apart: one skewed clock must not make a commit read years.
# Closer ones share a range: that is cheaper than two scans.
_SPLIT: Final = dt.timedelta(days=2)
# Each range is a scan, or two, of a statement that must fit into the loader's memory and be planned: with 48 scans
# over 146 files it did not fit. Times in so many places join the nearest.
_MOST: Final = 8

Extent = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end`, both inclusive; naive UTC, as the lake's TIMESTAMP columns."""

    start: dt.datetime
    end: dt.datetime

    def condition(self, column: str) -> str:
        """That `column` lies inside, as SQL with literals: parameters would not prune files."""
        return f"{column} BETWEEN TIMESTAMP '{self.start}' AND TIMESTAMP '{self.end}'"

    def contains(self, other: Window) -> bool:
        """Whether all of `other` lies inside."""
        return self.start <= other.start and other.end <= self.end

    def widened(self, margin: dt.timedelta) -> Window:
        """`margin` more at both ends, as far as the calendar goes."""
        return Window(shifted(self.start, -margin), shifted(self.end, margin))


def windows(extents: Iterable[Extent], margin: dt.timedelta = dt.timedelta()) -> list[Window]:
    """The extents joined where they lie within two days of each other, and the nearest of them until they are no
    more than eight; then widened by `margin`; sorted.
    """
    joined = _joined(sorted(extents), _SPLIT)
    if len(joined) > _MOST:
        gaps = sorted(later.start - earlier.end for earlier, later in pairwise(joined))
        joined = _joined([(window.start, window.end) for window in joined], gaps[-_MOST])
    return [window.widened(margin) for window in joined]


def _joined(extents: Iterable[Extent], gap: dt.timedelta) -> list[Window]:
    """Sorted extents, joined where no more than `gap` lies between them."""
    joined: list[Window] = []
    for start, end in extents:
        if joined and start - joined[-1].end <= gap:
            joined[-1] = Window(joined[-1].start, max(joined[-1].end, end))
        else:
            joined.append(Window(start, end))
    return joined


def any_of(ranges: Sequence[Window], column: str) -> str:
    """The condition that `column` lies in one of the windows; of no window at all: never."""
    return " OR ".join(window.condition(column) for window in ranges) or "false"


def covers(outer: Sequence[Window], inner: Sequence[Window]) -> bool:
    """Whether every window of `inner` lies inside one of `outer`."""
    return all(any(big.contains(small) for big in outer) for small in inner)


def shifted(time: dt.datetime, by: dt.timedelta) -> dt.datetime:
    """`time + by`, or `time` where the calendar ends."""
    try:
        return time + by
    except OverflowError:
        return time

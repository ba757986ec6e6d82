"""Days from which on far fewer sessions came in than their history lets expect: something stopped, or is not heard any
more.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from analyzers.anomaly_judged import SHARES, SURE, Judged, Period, Thing, compared
from analyzers.outliers import chances_of_counts

# A fall to more than that is a slow day.
_SHARE_LEFT: Final = Decimal("0.5")


def falls(thing: Thing, period: Period, things: int) -> Iterator[Judged]:
    """The first of days that belong together: such a fall lasts until a day costs more than half of the usual again.
    Days that are not over are not judged. ``things``: how many are looked at."""
    costs = dict(zip(thing.days, thing.costs, strict=True))
    parts = dict(zip(thing.days, thing.parts, strict=True))
    counts = {day: parts.get(day, 0) for day in range(thing.days[0], period.over)}
    if len(counts) <= 1:
        return
    tests = things * (period.over - period.first) / SHARES["fall"]
    chances = chances_of_counts(counts, fewer=True)
    has_fallen = False
    for day in counts:
        before = compared(thing.days, day)
        usual, cost = statistics.median(costs[one] for one in before), costs.get(day, Decimal(0))
        if cost > _SHARE_LEFT * usual:
            has_fallen = False
        elif not has_fallen and tests * chances[day] <= SURE:
            has_fallen = True
            if day >= period.first:
                yield Judged(
                    thing.kind,
                    thing.name,
                    thing.pricing_mode,
                    day,
                    cost,
                    float(usual),
                    tests * chances[day],
                    len(counts) - 1,
                    before,
                    unusual=("sessions",),
                    fell=True,
                )

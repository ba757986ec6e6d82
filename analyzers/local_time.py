"""The wall clock's time of calls, by additions alone: converting time zones takes 0.3 s for a million."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from analyzers.window import naive_utc

_DAY = dt.timedelta(days=1)


def local_sql(start: dt.datetime, end: dt.datetime, timezone: str) -> str:
    """An expression for the local time of ``start_time`` of calls from ``start`` until before ``end`` (aware)."""
    zone = ZoneInfo(timezone)
    changes = list(_changes(start, end, zone))
    cases = "".join(
        f"WHEN start_time < TIMESTAMP '{naive_utc(moment)}' THEN start_time + {_offset(before, zone)} "
        for before, moment in changes
    )
    last = f"start_time + {_offset(end, zone)}"
    return f"CASE {cases}ELSE {last} END" if cases else last


def _changes(
    start: dt.datetime, end: dt.datetime, zone: ZoneInfo
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """A moment before each change of the zone's offset, and the change."""
    before = start.astimezone(dt.UTC)
    while before < end:
        after = min(before + _DAY, end.astimezone(dt.UTC))
        if _utc_offset(before, zone) != _utc_offset(after, zone):
            yield before, _first_with(_utc_offset(after, zone), before, after, zone)
        before = after


def _first_with(offset: dt.timedelta, before: dt.datetime, after: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """To the second, as time zones are."""
    low, high = 0, (after - before) // dt.timedelta(seconds=1)
    first = before.replace(microsecond=0)
    while high - low > 1:
        middle = (low + high) // 2
        if _utc_offset(first + dt.timedelta(seconds=middle), zone) == offset:
            high = middle
        else:
            low = middle
    return first + dt.timedelta(seconds=high)


def _utc_offset(moment: dt.datetime, zone: ZoneInfo) -> dt.timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 - an aware time has one
    return offset


def _offset(moment: dt.datetime, zone: ZoneInfo) -> str:
    return f"to_seconds({_utc_offset(moment, zone) // dt.timedelta(seconds=1)})"

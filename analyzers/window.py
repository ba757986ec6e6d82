"""The stretch of time that an analyzer looks at, and how people write it down."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

ALLOWED: Final = (
    "a length of time such as 30m, 24h, 7d or 4w, or an ISO date or time such as 2026-03-01T09:00Z"
)
# Clocks are put forward or back at longer distances (Morocco's, for Ramadan, at about a month).
_CLOCK_LOOK: Final = dt.timedelta(days=7)
_LENGTH: Final = re.compile(r"(\d+)([mhdw])", re.ASCII)
_UNITS: Final = {
    "m": dt.timedelta(minutes=1),
    "h": dt.timedelta(hours=1),
    "d": dt.timedelta(days=1),
    "w": dt.timedelta(weeks=1),
}


class BadWindow(ValueError):  # noqa: N818 - the name says what is the case
    """A window that cannot be read or is empty by definition; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open, ``start <= start_time < end``, both aware; ``timezone`` says when days begin."""

    start: dt.datetime
    end: dt.datetime
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        """Raises BadWindow where the end does not come after the start."""
        if self.start >= self.end:
            raise BadWindow(
                f"the window ends ({iso(self.end)}) before or where it starts ({iso(self.start)})"
            )

    def parameters(self) -> dict[str, dt.datetime]:
        """``$start`` and ``$end`` for a comparison with the lake's times, which are UTC without an offset."""
        return {"start": naive_utc(self.start), "end": naive_utc(self.end)}

    @property
    def days(self) -> int:
        """Into how many days it falls, each from the time of day at which it starts; what is less than half a day
        at its end belongs to the last."""
        start, end = (self.local(edge) for edge in (self.start, self.end))
        return max(1, round((end - start) / dt.timedelta(days=1)))

    def local_time_sql(self) -> str:
        """What the wall clock showed at ``start_time``, for a call of the window. DuckDB's own conversion takes 0.8 µs
        a row, some 30 times as long."""
        parts = []
        offset = self._offset(self.start)
        for change in self._clock_changes():
            parts.append(f"WHEN start_time < TIMESTAMP '{naive_utc(change)}' THEN {_moved(offset)}")
            offset = self._offset(change)
        return f"CASE {' '.join(parts)} ELSE {_moved(offset)} END" if parts else _moved(offset)

    def day_sql(self) -> str:
        """Which of the window's days ``start_time`` is in, from 0. Days are those of the wall clock: of 23 or 25 hours
        where it is put forward or back."""
        start = self.local(self.start)
        into_day = start - dt.datetime.combine(start.date(), dt.time())
        day = f"CAST({self.local_time_sql()} - INTERVAL '{into_day.total_seconds()} seconds' AS DATE)"
        return f"least({self.days - 1}, greatest(0, date_diff('day', DATE '{start.date()}', {day})))"

    def _offset(self, moment: dt.datetime) -> dt.timedelta:
        return moment.astimezone(ZoneInfo(self.timezone)).utcoffset() or dt.timedelta(0)

    def _clock_changes(self) -> Iterator[dt.datetime]:
        """The moments of the window at which its zone's offset changes, to the second."""
        at = self.start
        while at < self.end:
            after = min(at + _CLOCK_LOOK, self.end)
            if self._offset(at) != self._offset(after):
                yield self._first_with_other_offset(at, after)
            at = after

    def _first_with_other_offset(self, before: dt.datetime, after: dt.datetime) -> dt.datetime:
        offset = self._offset(before)
        while (length := after - before) > dt.timedelta(seconds=1):
            middle = before + length / 2
            before, after = (middle, after) if self._offset(middle) == offset else (before, middle)
        return after.replace(microsecond=0)

    def observed(self, first: dt.datetime, now: dt.datetime) -> Window:
        """Without the whole days before ``first`` (naive, UTC), when nothing was recorded yet, and without what lies
        after ``now``: neither was a day on which nothing happened."""
        zone = ZoneInfo(self.timezone)
        start = self.local(self.start)
        before = (self.local(first.replace(tzinfo=dt.UTC)) - start) // dt.timedelta(days=1)
        begun = (start + dt.timedelta(days=max(before, 0))).replace(tzinfo=zone).astimezone(dt.UTC)
        end = min(self.end, now) if now > begun else self.end
        return replace(self, start=max(begun, self.start), end=end) if begun < end else self

    def at(self, start: dt.datetime, end: dt.datetime) -> Window:
        """Between two times of the wall clock, in the same zone. Raises BadWindow."""
        zone = ZoneInfo(self.timezone)
        first, last = (edge.replace(tzinfo=zone).astimezone(dt.UTC) for edge in (start, end))
        return Window(first, last, self.timezone)

    def local(self, moment: dt.datetime) -> dt.datetime:
        """What the wall clock shows, without an offset."""
        return moment.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None)

    def as_dict(self) -> dict[str, str]:
        """As JSON has it, times in UTC."""
        return {"start": iso(self.start), "end": iso(self.end), "timezone": self.timezone}

    def __str__(self) -> str:
        zone = ZoneInfo(self.timezone)
        start, end = (f"{edge.astimezone(zone):%Y-%m-%d %H:%M}" for edge in (self.start, self.end))
        return f"{start} to {end} ({self.timezone})"


def _moved(offset: dt.timedelta) -> str:
    return f"start_time + INTERVAL '{offset.total_seconds()} seconds'" if offset else "start_time"


def naive_utc(moment: dt.datetime) -> dt.datetime:
    """The lake's form of an aware time."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None)


def iso(moment: dt.datetime) -> str:
    """ISO 8601 in UTC with a Z, as all our JSON has it."""
    return naive_utc(moment).isoformat() + "Z"


def parse_length(text: str) -> dt.timedelta:
    """``24h`` -> 24 hours; a day is 24 hours. Raises BadWindow."""
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise BadWindow(f"{text!r} is not a length of time such as 30m, 24h, 7d or 4w")
    try:
        return int(match[1]) * _UNITS[match[2]]
    except OverflowError:
        raise BadWindow(f"{text!r} is longer than the calendar") from None


def format_length(length: dt.timedelta) -> str:
    """What ``parse_length`` reads, in the largest unit that leaves no rest."""
    unit = next((name for name in ("d", "h") if not length % _UNITS[name]), "m")
    return f"{length // _UNITS[unit]}{unit}"


def parse_moment(text: str, before: dt.datetime, timezone: str) -> dt.datetime:
    """A length of time counts back from ``before``; a time without offset is local. Raises BadWindow."""
    try:
        if _LENGTH.fullmatch(text.strip()):
            return before.astimezone(dt.UTC) - parse_length(text)
        moment = dt.datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise BadWindow(f"{text!r} is not a time; allowed: {ALLOWED}") from None


def parse_window(since: str, until: str | None, now: dt.datetime, timezone: str) -> Window:
    """``since`` as a length of time counts back from the window's end, which is ``now`` unless given."""
    end = now.astimezone(dt.UTC) if until is None else parse_moment(until, now, timezone)
    return Window(parse_moment(since, end, timezone), end, timezone)


def whole_days(count: int, before: dt.datetime, timezone: str) -> Window:
    """The last ``count`` calendar days of ``timezone`` that were over at ``before``."""
    zone = ZoneInfo(timezone)
    last = before.astimezone(zone).date()
    return Window(midnight(last - dt.timedelta(days=count), zone), midnight(last, zone), timezone)


def midnight(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    """When the day begins there, in UTC."""
    return dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC)

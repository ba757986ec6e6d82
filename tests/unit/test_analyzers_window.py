"""How windows are written: lengths of time, ISO times, zones, whole days."""

from __future__ import annotations

import datetime as dt

import pytest

from analyzers.window import BadWindow, Window, iso, parse_window, whole_days

NOW = dt.datetime(2026, 3, 30, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("since", "start"),
    [
        ("30m", "2026-03-30T11:30:00Z"),
        ("24h", "2026-03-29T12:00:00Z"),
        ("7d", "2026-03-23T12:00:00Z"),
        ("2w", "2026-03-16T12:00:00Z"),
        ("2026-03-01", "2026-03-01T00:00:00Z"),
        ("2026-03-01T09:30", "2026-03-01T09:30:00Z"),
        ("2026-03-01T09:30:00+02:00", "2026-03-01T07:30:00Z"),
        ("2026-03-01T09:30Z", "2026-03-01T09:30:00Z"),
    ],
)
def test_every_way_to_write_a_start(since: str, start: str):
    window = parse_window(since, None, NOW, "UTC")
    assert (iso(window.start), iso(window.end)) == (start, "2026-03-30T12:00:00Z")


def test_a_time_without_offset_is_local():
    """Midnight in Berlin is 23:00 UTC the day before in winter, 22:00 in summer."""
    window = parse_window("2026-03-01", "2026-03-30", NOW, "Europe/Berlin")
    assert (iso(window.start), iso(window.end)) == ("2026-02-28T23:00:00Z", "2026-03-29T22:00:00Z")


def test_a_length_counts_back_from_the_end():
    window = parse_window("7d", "2026-03-10", NOW, "UTC")
    assert iso(window.start) == "2026-03-03T00:00:00Z"


def test_a_day_in_a_length_is_24_hours_also_across_a_change_of_clocks():
    """Europe/Berlin had 23 hours on 29 March 2026."""
    local_now = dt.datetime.fromisoformat("2026-03-29T12:00:00+02:00")
    assert iso(parse_window("1d", None, local_now, "Europe/Berlin").start) == "2026-03-28T10:00:00Z"


@pytest.mark.parametrize("since", ["yesterday", "", "7", "7y", "-7d", "7 d", "2026-13-01", "99999999999d"])
def test_what_cannot_be_read_is_answered_with_what_is_allowed(since: str):
    with pytest.raises(BadWindow, match=r"allowed: a length of time such as 30m, 24h, 7d or 4w, or an ISO"):
        parse_window(since, None, NOW, "UTC")


def test_a_window_must_not_end_before_it_starts():
    with pytest.raises(BadWindow, match="before or where it starts"):
        parse_window("2026-04-01", None, NOW, "UTC")


def test_whole_days_end_at_the_last_local_midnight():
    """At 00:30 in Berlin the last whole day ended half an hour ago, after 23 hours."""
    slot = dt.datetime(2026, 3, 29, 22, 30, tzinfo=dt.UTC)
    window = whole_days(1, slot, "Europe/Berlin")
    assert (iso(window.start), iso(window.end)) == ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")


def test_a_window_is_shown_in_its_own_zone():
    window = Window(NOW - dt.timedelta(hours=1), NOW, "Asia/Kolkata")
    assert str(window) == "2026-03-30 16:30 to 2026-03-30 17:30 (Asia/Kolkata)"

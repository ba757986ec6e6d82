"""Two windows' costs: effects that add up exactly, the window to compare with, and what is said of chance."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers import registry
from analyzers.change import Cell, decompose
from analyzers.compare import baseline, compare
from analyzers.finding import Report
from analyzers.window import BadWindow, Window, parse_window
from tests.calls_table import call, calls_table

MARCH = Window(dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC))


def cells(**kinds: tuple[int, int, str]) -> dict[Any, Cell]:
    return {(name,): Cell(calls, tokens, Decimal(cost)) for name, (calls, tokens, cost) in kinds.items()}


def effects(change: Any) -> tuple[Decimal, ...]:
    return change.volume, change.mix, change.price, change.size, change.rate


def test_twice_as_many_calls_are_volume():
    change = decompose(cells(a=(10, 1000, "5")), cells(a=(20, 2000, "10")))
    assert effects(change) == (5, 0, 0, 0, 0)


def test_other_models_are_mix():
    """Ten calls at 0.10 and ten at 1 become two and eighteen: the mean call goes from 0.55 to 0.91."""
    before, after = cells(a=(10, 100, "1"), b=(10, 100, "10")), cells(a=(2, 20, "0.2"), b=(18, 180, "18"))
    assert effects(decompose(before, after)) == (0, Decimal("7.2"), 0, 0, 0)


def test_longer_calls_are_size_and_dearer_tokens_rate():
    assert effects(decompose(cells(a=(10, 1000, "5")), cells(a=(10, 2000, "10")))) == (0, 0, 5, 5, 0)
    assert effects(decompose(cells(a=(10, 1000, "5")), cells(a=(10, 1000, "10")))) == (0, 0, 5, 0, 5)


def test_a_window_without_calls_leaves_all_to_volume():
    assert effects(decompose({}, cells(a=(3, 10, "6")))) == (6, 0, 0, 0, 0)
    assert effects(decompose(cells(a=(3, 10, "6")), {})) == (-6, 0, 0, 0, 0)


kinds = st.dictionaries(
    st.tuples(st.sampled_from("abcd")),
    st.builds(Cell, st.integers(1, 10**6), st.integers(0, 10**12), st.decimals(0, 10**6, places=12)),
)


@given(before=kinds, after=kinds)
def test_effects_add_up_exactly_and_mirror_each_other(before, after):
    change, back = decompose(before, after), decompose(after, before)
    assert change.volume + change.mix + change.price == change.after - change.before
    assert change.size + change.rate == change.price
    for one, other in zip(effects(change), effects(back), strict=True):
        assert abs(one + other) <= Decimal("1e-11")


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("spec", "start", "end"),
    [
        ("previous", "2026-01-29T00:00Z", "2026-03-01T00:00Z"),
        ("last-week", "2026-02-22T00:00Z", "2026-03-25T00:00Z"),
        ("last-month", "2026-02-01T00:00Z", "2026-03-01T00:00Z"),
        ("last-7d", "2026-02-22T00:00Z", "2026-03-01T00:00Z"),
        ("last-30d", "2026-01-30T00:00Z", "2026-03-01T00:00Z"),
        ("2026-01-01:2026-02-01", "2026-01-01T00:00Z", "2026-02-01T00:00Z"),
        ("2026-01-01T09:30+02:00:2026-01-01T10:30Z", "2026-01-01T07:30Z", "2026-01-01T10:30Z"),
    ],
)
def test_what_a_window_is_compared_with(spec: str, start: str, end: str):
    found = baseline(spec, MARCH)
    assert (found.start, found.end) == (moment(start), moment(end))


def test_a_week_that_is_compared_across_a_change_of_clocks_begins_at_midnight():
    """Berlin put its clocks forward on 29 March 2026."""
    week = parse_window("2026-03-30", "2026-04-06", moment("2026-05-01T00:00Z"), "Europe/Berlin")
    found = baseline("previous", week)
    assert (found.start, found.end) == (moment("2026-03-22T23:00Z"), moment("2026-03-29T22:00Z"))


@pytest.mark.parametrize("spec", ["yesterday", "2026-01-01", "a:b", "2026-02-01:2026-01-01", ":"])
def test_what_is_no_window_is_refused_with_what_is_allowed(spec: str):
    with pytest.raises(BadWindow, match=r"allowed: previous, last-week|ends .* before"):
        baseline(spec, MARCH)


def week(start: dt.datetime, cost: str, calls: int = 1, **columns: Any) -> list[dict[str, Any]]:
    return [
        call(
            start_time=start + dt.timedelta(days=day), cost_usd=Decimal(cost) + Decimal(day) / 100, **columns
        )
        for day in range(7)
        for _ in range(calls)
    ]


def compared(*calls: dict[str, Any]) -> Report:
    after = Window(dt.datetime(2026, 3, 8, tzinfo=dt.UTC), dt.datetime(2026, 3, 15, tzinfo=dt.UTC))
    return compare(calls_table(*calls), baseline("previous", after), after)


def total(report: Report) -> dict[str, Any]:
    (row,) = report.totals
    return dict(zip((column.name for column in report.columns), row, strict=True))


FIRST, SECOND = dt.datetime(2026, 3, 1, 12), dt.datetime(2026, 3, 8, 12)


def test_a_week_that_cost_twice_as_much_is_told_from_noise():
    report = compared(*week(FIRST, "1"), *week(SECOND, "1", calls=2))
    found = total(report)
    assert found["spend_change_usd"] == found["volume_effect_spend_usd"] == found["spend_before_usd"]
    assert found["p_value"] < 0.05
    assert any("can be told" in note for note in report.notes)


def test_weeks_alike_are_not():
    report = compared(*week(FIRST, "1"), *week(SECOND, "1.001"))
    assert total(report)["p_value"] > 0.5
    assert any("cannot be told" in note for note in report.notes)


def test_modes_are_never_added_and_unknown_costs_are_counted():
    report = compared(
        *week(FIRST, "1"),
        *week(SECOND, "1", pricing_mode="subscription", plan_tier="pro"),
        call(start_time=SECOND, cost_usd=None),
    )
    by_mode = {row[3]: dict(zip((c.name for c in report.columns), row, strict=True)) for row in report.totals}
    assert by_mode["api"]["spend_after_usd"] == 0
    assert by_mode["subscription"]["implied_api_value_before_usd"] == 0
    assert by_mode["subscription"]["spend_after_usd"] is None
    assert any(note.startswith("1 calls without a known cost") for note in report.notes)


def test_without_calls_it_says_so():
    report = compared()
    assert (report.rows, report.totals) == ((), ())
    assert report.notes[0].startswith("no calls with a known cost")


# --- before the first call


def recorded_from(first_day: int, spec: str = "previous") -> Report:
    """A call of 1 USD a day from some day of March on, until the 20th; the days from the 11th to the 20th beside those
    before them."""
    calls = [
        call(start_time=dt.datetime(2026, 3, day, 12), cost_usd=Decimal(1)) for day in range(first_day, 21)
    ]
    window = Window(dt.datetime(2026, 3, 11, tzinfo=dt.UTC), dt.datetime(2026, 3, 21, tzinfo=dt.UTC))
    return registry.get("compare").run(calls_table(*calls), window, {"baseline": spec})


def test_days_before_the_first_call_are_not_days_that_cost_nothing():
    """Recorded from the 7th on: four days of 1 USD, and ten. Means per day do not differ."""
    report = recorded_from(7)
    assert report.baseline is not None
    assert report.baseline.start == dt.datetime(2026, 3, 7, tzinfo=dt.UTC)
    (total,) = report.as_dict()["totals"]
    assert (total["spend_before_usd"], total["spend_after_usd"], total["p_value"]) == (4, 10, 1.0)
    assert "nothing is recorded from before 2026-03-07 00:00" in report.notes[0]
    assert any("the windows have 4 and 10 days" in note for note in report.notes)


def test_where_nothing_was_recorded_before_there_is_nothing_to_compare_with():
    report = recorded_from(11)
    assert (report.rows, report.totals) == ((), ())
    (note,) = report.notes
    assert note.startswith("nothing is recorded from 2026-03-01 00:00")
    assert recorded_from(1).baseline == recorded_from(1, "2026-03-01:2026-03-11").baseline

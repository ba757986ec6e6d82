"""Intervals hold the truth as often as they promise, chance alone makes few findings, and nothing depends on order."""

from __future__ import annotations

import math
import random

import pytest

from analyzers.statistics import FALSE_DISCOVERIES, difference, discoveries, interval

# Where nine in ten hold, fewer of 50 do once in ten thousand times.
LEAST_OF_50 = 36
LAKES = pytest.mark.parametrize("lakes", [50, pytest.param(200, marks=pytest.mark.soak)])


def savings(choose: random.Random, days: int, sessions: float, spread: float) -> list[float]:
    """Daily sums of savings as sessions bring them: their number varies, and a few are many times the others."""
    return [
        math.fsum(choose.lognormvariate(0, spread) for _ in range(poisson(choose, sessions)))
        for _ in range(days)
    ]


def poisson(choose: random.Random, mean: float) -> int:
    """Knuth's: how many exponential steps fit into the mean."""
    count, reached = 0, choose.expovariate(1)
    while reached < mean:
        count, reached = count + 1, reached + choose.expovariate(1)
    return count


@pytest.mark.parametrize(
    ("lakes", "at_least"), [(50, LEAST_OF_50), pytest.param(200, 180, marks=pytest.mark.soak)]
)
@pytest.mark.parametrize(("days", "sessions", "spread"), [(7, 12, 0.5), (14, 4, 1.0), (30, 10, 1.5)])
def test_intervals_hold_the_mean_that_was_planted(
    lakes: int, at_least: int, days: int, sessions: float, spread: float
):
    """Of lakes whose mean saving a day is known, at least nine in ten have it between low and high."""
    choose = random.Random(7)
    planted = sessions * math.exp(spread**2 / 2)  # the mean of a lognormal, times how many there are
    found = [interval(savings(choose, days, sessions, spread)) for _ in range(lakes)]
    held = sum(one.low <= planted <= one.high for one in found)
    assert held >= at_least


def test_a_saving_of_one_day_alone_is_not_told_from_chance():
    """Six days without and one with: a third of all draws has nothing of it."""
    found = interval([0, 0, 0, 50.0, 0, 0, 0])
    assert found.p_value == pytest.approx((6 / 7) ** 7, abs=0.03)
    assert found.low == 0
    assert discoveries([found.p_value]) == [False]


@LAKES
def test_figures_without_any_effect_are_rarely_taken_for_findings(lakes: int):
    """Days that go up and down around nothing: a run of five of them shows one hardly more often than it may."""
    choose = random.Random(11)
    runs = [[interval([choose.gauss(0, 1) for _ in range(28)]) for _ in range(5)] for _ in range(lakes // 2)]
    alarmed = sum(any(discoveries([one.p_value for one in found])) for found in runs)
    assert alarmed <= FALSE_DISCOVERIES * lakes


def test_with_few_days_nothing_is_said_of_sureness():
    found = interval([1.0, 2.0, 3.0])
    assert (found.mean, found.low, found.high, found.p_value) == (2.0, None, None, None)


def test_equal_days_have_no_spread():
    found = interval([0.1] * 10)
    assert found.low == found.mean == found.high
    assert found.p_value < 0.001


def test_the_order_of_days_does_not_matter_to_what_is_reported():
    """The draws take other days, but so many that the ends hardly move."""
    days = savings(random.Random(3), 14, 8, 0.8)
    one, other = interval(days), interval(days[::-1])
    assert one.low == pytest.approx(other.low, rel=0.1)
    assert one.high == pytest.approx(other.high, rel=0.1)


def test_benjamini_and_hochberg_by_hand():
    """Six values at 0.1, so the borders are 1/60, 2/60, ...: 0.08 lies under the fifth, and takes 0.07 along, which is
    over the fourth."""
    values = [0.04, 0.9, 0.01, 0.08, None, 0.07, 0.02]
    assert discoveries(values) == [True, False, True, True, False, True, True]


def test_two_means_are_apart_where_shuffled_days_hardly_ever_are():
    """Of the C(6, 3) = 20 ways to deal six days out, the two that part low from high are as far apart."""
    assert difference([1, 2, 3], [11, 12, 13]) == pytest.approx(2 / 20, abs=0.02)


def test_equal_days_are_not_apart():
    assert difference([5.0] * 4, [5.0] * 4) == 1
    assert difference([5.0], [9.0, 9.0]) is None


@LAKES
def test_changes_that_are_none_are_called_one_as_often_as_promised(lakes: int):
    """Of pairs of weeks drawn alike, about one in twenty differs at p < 0.05."""
    choose = random.Random(5)
    alarms = sum(
        difference(savings(choose, 7, 10, 1.0), savings(choose, 7, 10, 1.0)) < 0.05 for _ in range(lakes)
    )
    assert alarms <= 0.09 * lakes

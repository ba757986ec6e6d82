"""What is usual of a day, how far another is from it, and how rare that is."""

from __future__ import annotations

import math
import random

import pytest

from analyzers.outliers import Tail, chances_of_counts, chances_of_means, distances, tail


def test_weekdays_and_growth_are_usual():
    """Half as much on weekends and 1 % more each day: no day is out of line."""
    costs = {day: math.log((0.5 if day % 7 in (5, 6) else 1.0) * 1.01**day) for day in range(42)}
    found = distances(costs)
    assert all(abs(one.score) < 1e-6 for one in found.values())
    assert found[40].expected == pytest.approx(costs[40])


def test_a_day_is_judged_by_the_others_alone():
    """One day ten times the others, of which a twentieth more would be one deviation: ln(10) / 0.05."""
    costs = dict.fromkeys(range(28), 0.0) | {10: math.log(10)}
    found = distances(costs)
    assert found[10].expected == pytest.approx(0)
    assert found[10].score == pytest.approx(math.log(10) / 0.05)
    assert all(abs(one.score) < 1e-9 for day, one in found.items() if day != 10)


def test_the_tail_by_hand():
    """Of 20 distances the five largest make the tail: 3, 2, 2, 2, 1 above the sixth, 2 on average. 10 above it is 1/4
    times (1 + 10 / (5 * 2)) to the -5."""
    known = Tail(20, (3.0, 2.0, 2.0, 2.0, 1.0, 0.0, -1.0))
    assert known.p_value(10) == pytest.approx(0.25 * 2**-5)
    assert known.p_value(0) == known.p_value(-3) == 1.0
    assert Tail(3, (3.0, 2.0, 1.0)).p_value(50) == 1.0


def test_what_is_judged_is_no_part_of_what_it_is_judged_by():
    scores = [random.Random(1).gauss(0, 1) for _ in range(40)]
    assert tail([*scores, 9.0]).without(9.0) == tail(scores)


@pytest.mark.parametrize("size", [40, 400])
@pytest.mark.parametrize("shape", ["normal", "exponential"])
def test_chance_is_called_rare_no_more_often_than_it_is(shape: str, size: int):
    """Of 4000 new values, each beside others of its kind, at most as many are at p < 0.01 as promised (and a bit)."""
    choose = random.Random(size)
    draw = {"normal": lambda: choose.gauss(0, 1), "exponential": lambda: choose.expovariate(1)}[shape]
    rare = 0
    for _ in range(200):
        known = tail([draw() for _ in range(size)])
        rare += sum(known.p_value(draw()) < 0.01 for _ in range(20))
    assert rare <= 0.013 * 4000


def test_a_mean_by_hand():
    """Five weeks of days that are the same, but for one whose four values are 2.5 deviations higher on average. It is
    judged by four days: 2.5 / sqrt(1/4 + pi/2 * 1/4 / 4) = 4.24 deviations, and 0.0000855 of a t distribution with 33
    degrees of freedom is above that."""
    means = dict.fromkeys(range(35), 0.0) | {20: 2.5}
    found = chances_of_means(means, dict.fromkeys(means, 4))
    assert found[20] == pytest.approx(0.0000855, rel=0.03)
    assert all(chance == 0.5 for day, chance in found.items() if day != 20)


def test_a_count_is_told_by_its_root():
    """25 a day, half as many on weekends: 60 are far more than usual, 60 on one of many uneven days are not."""
    choose = random.Random(1)
    usual = {day: 12 if day % 7 in (5, 6) else 25 for day in range(42)}
    assert chances_of_counts(usual | {30: 60})[30] < 1e-4
    uneven = {day: round(count * math.exp(choose.gauss(0, 0.5))) for day, count in usual.items()}
    assert chances_of_counts(uneven | {30: 60})[30] > 0.001


@pytest.mark.parametrize("unrest", [0.0, 0.3])
@pytest.mark.parametrize("days", [21, 49])
def test_days_are_called_rare_no_more_often_than_they_are(days: int, unrest: float):
    """Of 4000 days with few sessions and weekends, at most as many are at p < 0.005 as promised (and a bit), whether
    all sessions of a day have something in common or not."""
    choose = random.Random(days)
    rare = seen = 0
    while seen < 4000:
        moods = {day: choose.gauss(0, unrest) for day in range(days)}
        counts = {
            day: 1
            + sum(choose.random() < 0.1 * math.exp(mood) for _ in range(15 if day % 7 in (5, 6) else 60))
            for day, mood in moods.items()
        }
        means = {day: mood + choose.gauss(0, 1) / math.sqrt(counts[day]) for day, mood in moods.items()}
        found = [*chances_of_counts(counts).values(), *chances_of_means(means, counts).values()]
        rare += sum(chance < 0.005 for chance in found)
        seen += days
    assert rare <= 0.006 * 2 * seen

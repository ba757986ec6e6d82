"""Candidates become findings: each call's money claimed once, never more than was spent, judged over whole days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers import frame
from analyzers.finding import CLAIMS, Candidate, Finding, Report
from analyzers.honest import Amount
from analyzers.window import Window
from tests.calls_table import call, calls_table, replace_calls

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def window(days: int = 14, start: dt.datetime = START, timezone: str = "UTC") -> Window:
    return Window(start, start + days * DAY, timezone)


def candidate(key: str, pricing_mode: str = "api", **rest: Any) -> Candidate:
    about = {
        "kind": "test",
        "dimension": {"agent": key},
        "title": f"agent {key}",
        "method": "by hand",
        "action": "stop",
    }
    return Candidate(key=key, pricing_mode=pricing_mode, **(about | rest))


def report(candidates: Sequence[Candidate], claims: Sequence[tuple[Any, ...]], *findings: Finding) -> Report:
    rows = pa.Table.from_pylist([dict(zip(CLAIMS.names, row, strict=True)) for row in claims], schema=CLAIMS)
    return Report((), (), candidates=tuple(candidates), claims=rows, findings=findings)


def daily(days: int, cost: str | None, **columns: Any) -> list[dict[str, Any]]:
    """A call at noon of each day from 1 March on, named day-0, day-1, …"""
    return [
        call(
            call_id=f"day-{day}",
            start_time=dt.datetime(2026, 3, 1, 12) + day * DAY,
            cost_usd=None if cost is None else Decimal(cost),
            **columns,
        )
        for day in range(days)
    ]


def settled(calls: Sequence[dict[str, Any]], **reports: Report) -> dict[str, Report]:
    return frame.settle(calls_table(*calls), window(), NOW, reports)


def test_what_is_saved_every_day_is_a_finding_with_its_month():
    """Fourteen days of 1 USD each, of which 0.25 to 0.5 is claimed: 3.5 to 7 in the window, 30.436875 / 14 times that a
    month, and half of the tokens of all calls."""
    claims = [("a", f"day-{day}", Decimal("0.25"), Decimal("0.5"), 55) for day in range(14)]
    found = settled(daily(14, "1"), one=report([candidate("a")], claims))["one"].findings
    (estimate,) = [finding.estimate for finding in found]
    assert (estimate.basis, estimate.low, estimate.high) == (
        "spend",
        Amount("api", Decimal("3.5")),
        Amount("api", Decimal(7)),
    )
    assert estimate.low_per_month.usd == Decimal("7.60921875")
    assert estimate.high_per_month.usd == Decimal("15.2184375")
    assert estimate.tokens_low_per_month == estimate.tokens_high_per_month == int(55 * 30.436875)
    assert (estimate.token_share, estimate.confidence) == (0.5, 0.9)
    assert found[0].evidence["calls"] == 14
    assert len(found[0].examples) == 5


def test_a_saving_of_a_single_day_is_left_out_and_counted():
    found = settled(
        daily(14, "1"), one=report([candidate("a")], [("a", "day-3", Decimal(1), Decimal(1), 10)])
    )["one"]
    assert found.findings == ()
    assert found.notes[0].startswith("1 further candidates are not shown")


def test_a_call_is_claimed_by_one_finding_only():
    """Two analyzers claim the same calls: the one that saves more has them, what the other claims beside stays its."""
    calls = daily(14, "1")
    larger = [("a", f"day-{day}", Decimal("0.9"), Decimal("0.9"), None) for day in range(10)]
    smaller = [("b", f"day-{day}", Decimal("0.5"), Decimal("0.5"), None) for day in range(14)]
    done = settled(calls, one=report([candidate("a")], larger), two=report([candidate("b")], smaller))
    amounts = {
        finding.dimension["agent"]: finding.estimate.high.usd
        for one in done.values()
        for finding in one.findings
    }
    assert amounts == {"a": Decimal(9), "b": Decimal(2)}


def test_a_call_gives_no_more_than_it_cost_or_had_tokens():
    claims = [("a", f"day-{day}", Decimal(5), Decimal(9), 10_000) for day in range(14)]
    (finding,) = settled(daily(14, "1"), one=report([candidate("a")], claims))["one"].findings
    assert finding.estimate.high.usd == 14
    assert finding.estimate.token_share == 1


def test_claims_on_calls_of_another_mode_outside_the_window_or_unknown_are_nothing():
    calls = [*daily(14, "1", pricing_mode="subscription", plan_tier="pro"), *daily(40, "1")[20:]]
    claims = [("a", f"day-{day}", Decimal(1), Decimal(1), 1) for day in (*range(14), *range(20, 40))]
    claims += [("a", "nobody's", Decimal(1), Decimal(1), 1), ("stranger", "day-0", Decimal(1), Decimal(1), 1)]
    done = settled(calls, one=report([candidate("a", "api")], claims))["one"]
    assert (done.findings, done.notes) == ((), ())


def test_without_a_known_cost_tokens_are_the_basis():
    claims = [("a", f"day-{day}", None, None, 100) for day in range(14)]
    (finding,) = settled(daily(14, None), one=report([candidate("a")], claims))["one"].findings
    assert (finding.estimate.basis, finding.estimate.low, finding.estimate.high) == ("tokens", 1400, 1400)


def test_a_short_window_says_what_was_seen_and_no_more():
    claims = [("a", f"day-{day}", Decimal(1), Decimal(1), 1) for day in range(2)]
    reports = {"one": report([candidate("a")], claims)}
    done = frame.settle(calls_table(*daily(2, "1")), window(2), NOW, reports)["one"]
    (finding,) = done.findings
    assert (finding.estimate.low.usd, finding.estimate.confidence, finding.p_value) == (2, None, None)
    assert "fewer than 4 days" in done.notes[0]


def test_days_before_anything_was_recorded_are_no_days_without_a_saving():
    """A lake of seven days looked at over fourteen, and over a year: the month's estimate is that of the seven."""
    calls = daily(14, "1")[7:]
    claims = [("a", f"day-{day}", Decimal(1), Decimal(1), None) for day in range(7, 14)]
    reports = {"one": report([candidate("a")], claims)}
    for start in (START, START - 351 * DAY):
        whole = Window(start, START + 14 * DAY)
        (finding,) = frame.settle(calls_table(*calls), whole, NOW, reports)["one"].findings
        assert finding.estimate.low_per_month.usd == Decimal("30.436875")


def test_facts_stay_and_figures_of_chance_go():
    fact, chance = Finding("1", "a fact"), Finding("2", "perhaps", p_value=0.3)
    done = settled([], one=report([], [], fact, chance))["one"]
    assert done.findings == (fact,)
    assert done.notes[0].startswith("1 further candidates")


def test_a_findings_id_is_the_same_in_every_run_and_differs_by_what_it_is_about():
    claims = [("a", f"day-{day}", Decimal(1), Decimal(1), 1) for day in range(14)]
    ids = {
        settled(daily(14, "1"), **{name: report([candidate("a", **about)], claims)})[name]
        .findings[0]
        .finding_id
        for name, about in [
            ("one", {}),
            ("one", {}),
            ("two", {}),
            ("one", {"kind": "k"}),
            ("one", {"dimension": {}}),
        ]
    }
    assert len(ids) == 4


@pytest.fixture(scope="module")
def connection():
    with calls_table() as one_for_all_examples:
        yield one_for_all_examples


modes = st.sampled_from(["api", "subscription", "unknown"])
amounts = st.none() | st.decimals(0, 100, places=4)


@settings(deadline=None, max_examples=60)
@given(
    calls=st.lists(st.tuples(st.integers(0, 13), modes, amounts), min_size=1, max_size=30),
    claims=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 29), amounts, amounts), max_size=60),
    claiming=st.lists(modes, min_size=4, max_size=4),
)
def test_findings_together_never_claim_more_than_was_spent_or_worth(connection, calls, claims, claiming):
    """Whatever four candidates of two analyzers claim of any calls, several times and too much: what they are given of
    a pricing mode is at most the cost of its calls."""
    rows = [
        call(call_id=str(at), start_time=dt.datetime(2026, 3, 1 + day, 9), pricing_mode=mode, cost_usd=cost)
        for at, (day, mode, cost) in enumerate(calls)
    ]
    reports = {
        name: report(
            [candidate(str(key), claiming[key]) for key in keys],
            [(str(key), str(at), low, high, 5) for key, at, low, high in claims if key in keys],
        )
        for name, keys in (("one", (0, 1)), ("two", (2, 3)))
    }
    replace_calls(connection, rows)
    given_to = frame.claimed(connection, window(), reports)
    for mode in ("api", "subscription", "unknown"):
        claimed = sum(one.high_usd or 0 for one in given_to if one.candidate.pricing_mode == mode)
        assert claimed <= sum(cost or 0 for _, of, cost in calls if of == mode)
    assert len({(one.analyzer, one.candidate.key) for one in given_to}) == len(given_to)

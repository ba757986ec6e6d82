"""The analyzer `batch-eligible`: what runs like clockwork is planted beside what does not, and priced by hand.

USD for a million tokens, input / cache read / output, in November 2026: gpt-4o 2.50 / 1.25 / 10, in a batch 1.25 / 1.25
/ 5, without flex; gpt-5 1.25 / 0.125 / 10, in a batch and as flex half of it; claude-opus-4-5 5 / 0.50 / 25, in a batch
half of it.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers.finding import Finding, Report
from analyzers.honest import Amount
from analyzers.window import Window
from tests import planted
from tests.calls_table import lake_with_calls
from tests.pages import assert_example
from tests.planted import Quiet
from tests.priced_lakes import DAY, MONTH, Row, gpt, lake, named_rows, opus, report_of

START = dt.datetime(2026, 11, 2)  # a Monday
NOW = dt.datetime(2026, 12, 31, tzinfo=dt.UTC)
HOUR, MINUTE, SECOND = dt.timedelta(hours=1), dt.timedelta(minutes=1), dt.timedelta(seconds=1)
# What a call of 1,000 tokens in and 100 out to gpt-4o costs less in a batch: half of 0.0035 USD.
SAVED = Decimal("0.00175")


def window(days: int = 14, start: dt.datetime = START, timezone: str = "UTC") -> Window:
    begins = start.replace(tzinfo=dt.UTC)
    return Window(begins, begins + days * DAY, timezone)


def settled(connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any) -> Report:
    return report_of("batch-eligible", connection, over or window(), NOW, **settings)


def findings(connection: duckdb.DuckDBPyConnection, **settings: Any) -> tuple[Finding, ...]:
    return settled(connection, **settings).findings


def one(at: dt.datetime, make: Callable[..., Row] = gpt, **columns: Any) -> Row:
    """A call in a session and a trace of its own, which takes a second."""
    name = f"{columns.get('agent_name', 'nightly')}-{at.isoformat()}"
    about = {"agent_name": "nightly", "start_time": at, "session_id": name, "trace_id": name}
    return make(0, 0, **(about | columns))


def job(every: dt.timedelta = 6 * HOUR, days: int = 14, late: float = 0, **columns: Any) -> list[Row]:
    """Runs of five calls, two seconds from one to the next, `late` seconds at most after their time."""
    pick = random.Random(3)
    return [
        one(START + number * every + pick.uniform(0, late) * SECOND + call * 2 * SECOND, **columns)
        for number in range(days * DAY // every)
        for call in range(5)
    ]


def gpt5(day: int, at: int, **columns: Any) -> Row:
    cost = {
        "cost_input_usd": Decimal("0.00125"),
        "cost_output_usd": Decimal("0.001"),
        "cost_usd": Decimal("0.00225"),
    }
    return gpt(day, at, **({"request_model": "gpt-5"} | cost | columns))


# --- what runs like clockwork


def test_a_job_of_every_six_hours_is_priced_as_a_batch():
    """56 runs of five calls, up to 30 seconds late: 280 times 0.00175 USD in 14 days."""
    (finding,) = findings(lake(job(late=30)))
    assert finding.dimension == {"agent": "nightly", "provider": "openai", "model": "gpt-4o"}
    assert finding.kind == "batch"
    assert finding.estimate.low == finding.estimate.high == Amount("api", 280 * SAVED)
    assert finding.estimate.high_per_month.usd == 20 * SAVED * MONTH
    assert finding.evidence["runs"] == 56
    assert abs(finding.evidence["period_seconds"] - 6 * 3600) < 30
    assert finding.evidence["variation_of_periods"] < 0.01
    assert finding.evidence["cost"].usd == 280 * Decimal("0.0035")
    assert finding.evidence["cost_in_tier"].usd == 280 * Decimal("0.00175")
    assert any("answered within a day" in caveat for caveat in finding.caveats)


def test_where_flex_costs_the_same_it_is_chosen_as_the_caller_is_answered_as_before():
    (finding,) = findings(lake(job(make=gpt5)))
    assert finding.kind == "flex"
    assert finding.estimate.high.usd == 280 * Decimal("0.001125")
    assert any("requests are refused while the provider is busy" in caveat for caveat in finding.caveats)


@pytest.mark.parametrize("every", [MINUTE, 15 * MINUTE, 6 * HOUR, DAY], ids=str)
def test_any_period(every: dt.timedelta):
    (row,) = named_rows(
        settled(lake([one(START + number * every) for number in range(14 * DAY // every)][:500]))
    )
    assert (row["period_seconds"], row["variation"]) == (every.total_seconds(), 0)


def test_a_job_may_rest_at_night_and_at_weekends():
    """From Monday to Friday every hour from 8 to 18: the pauses between are of whole hours."""
    rows = [row for row in job(HOUR) if row["start_time"].weekday() < 5 and 8 <= row["start_time"].hour < 18]
    (finding,) = findings(lake(rows))
    assert finding.evidence["runs"] == 100
    assert finding.estimate.high.usd == 500 * SAVED


def test_a_job_by_the_clock_on_the_wall_is_regular_when_that_is_put_back():
    """At six in Berlin every day, from 15 October; on 25 October, at three, the clock is put back by an hour."""
    start = dt.datetime(2026, 10, 15)
    rows = [one(start + day * DAY + (4 if day < 10 else 5) * HOUR) for day in range(14)]
    (finding,) = settled(lake(rows), window(14, start, "Europe/Berlin"), max_drift="1m").findings
    assert (finding.evidence["period_seconds"], finding.evidence["variation_of_periods"]) == (86_400, 0.0)
    assert settled(lake(rows), window(14, start), max_variation="0.01").findings == ()


# --- what does not


def test_an_office_that_begins_at_nine_is_no_job():
    """Calls every one to eight minutes from nine to five, every day, the first of them on time."""
    pick = random.Random(4)

    def day(number: int) -> Iterator[Row]:
        at = START + number * DAY + 9 * HOUR
        while at < START + number * DAY + 17 * HOUR:
            yield one(at)
            at += pick.uniform(1, 8) * MINUTE

    assert settled(lake(row for number in range(14) for row in day(number))).rows == ()


def test_a_person_who_asks_at_about_the_same_time_every_day_is_no_job():
    """Within 40 minutes of noon: the periods vary by a fiftieth, and are far off the clock."""
    pick = random.Random(5)
    rows = [one(START + day * DAY + 12 * HOUR + pick.uniform(-40, 40) * MINUTE) for day in range(14)]
    assert settled(lake(rows)).rows == ()
    assert len(settled(lake(rows), max_drift="2h").rows) == 1


def test_periods_that_vary_by_more_than_a_seventh_are_none():
    assert len(settled(lake(job(15 * MINUTE, late=150))).rows) == 1
    assert settled(lake(job(15 * MINUTE, late=600))).rows == ()


def test_the_steps_of_a_session_are_no_runs():
    """One session after the other, each of 20 calls that are 60 seconds apart."""
    pick = random.Random(6)
    begins = sorted(pick.uniform(0, 14 * 24) for _ in range(40))
    rows = [
        one(START + begin * HOUR + call * MINUTE, session_id=f"session-{number}")
        for number, begin in enumerate(begins)
        for call in range(20)
    ]
    assert settled(lake(rows)).rows == ()


def test_five_runs_are_too_few():
    rows = [one(START + day * DAY) for day in range(5)]
    assert findings(lake(rows)) == ()
    assert len(findings(lake(rows), least_runs=5)) == 1


OTHER_TIERS = ({"batch": True}, {"service_tier": "flex"}, {"service_tier": "priority"}, {"speed": "fast"})
STANDARD_TIERS = ("default", "standard", "auto", None)


@pytest.fixture(scope="module")
def in_tiers() -> set[str]:
    """The agents of which something is found: one of each tier has a job."""
    tiers = (*OTHER_TIERS, *({"service_tier": tier} for tier in STANDARD_TIERS))
    rows = [row | columns for columns in tiers for row in job(agent_name=str(columns))]
    return {str(each.dimension["agent"]) for each in findings(lake(rows))}


@pytest.mark.parametrize("columns", OTHER_TIERS, ids=str)
def test_what_is_in_another_tier_already_is_left_there(in_tiers: set[str], columns: dict[str, Any]):
    assert str(columns) not in in_tiers


@pytest.mark.parametrize("tier", STANDARD_TIERS)
def test_names_of_the_standard_tier(in_tiers: set[str], tier: str | None):
    assert str({"service_tier": tier}) in in_tiers


# --- what a batch cannot serve, and what is not sure


def test_calls_that_need_each_others_answers_go_into_no_batch():
    """Every run is a session in which a tool is asked for. With gpt-5 they can be had as flex."""
    talk = {"session_id": "x", "finish_reasons": ["tool_calls"]}
    rows = [row | talk | {"session_id": f"run-{at // 5}"} for at, row in enumerate(job())]
    report = settled(lake(rows))
    assert (report.rows, report.findings) == ((), ())
    assert report.notes[0].startswith("280 calls that run like clockwork are left out")
    rows = [row | talk | {"session_id": f"run-{at // 5}"} for at, row in enumerate(job(make=gpt5))]
    (finding,) = findings(lake(rows))
    assert finding.kind == "flex"
    assert finding.evidence["calls_beside_others_that_ask_for_tools"] == 280


def test_of_calls_of_one_session_nobody_knows_whether_they_wait_for_each_other():
    """At least nothing is saved, at most all."""
    (finding,) = findings(lake(row | {"session_id": f"run-{at // 5}"} for at, row in enumerate(job())))
    assert (finding.estimate.low.usd, finding.estimate.high.usd) == (0, 280 * SAVED)
    assert finding.evidence["calls_alone_in_their_session_or_trace"] == 0


def test_what_the_cache_gave_may_cost_more_in_a_batch():
    """90,000 of 100,000 tokens are read from the cache: 0.0975 USD; in a batch half of it with the same cache, without
    any 0.25 + 0.00125. That may cost more, so it is no finding; the row says what it would cost at best."""
    report = settled(lake(job(make=opus, output_tokens=100)))
    assert report.findings == ()
    (row,) = named_rows(report)
    assert (row["tier"], row["spend_in_tier_usd"]) == ("batch", 280 * Decimal("0.04875"))


def test_before_the_list_has_prices_of_batches_nothing_is_claimed_and_that_is_said():
    early = [row | {"start_time": row["start_time"] - 240 * DAY} for row in job()]
    report = settled(lake(early), window(14, START - 240 * DAY))
    assert report.findings == ()
    (note,) = report.notes
    assert note.startswith(
        "280 calls that run like clockwork are left out: for their model, provider and time the list has no price of a"
    )


def test_unknown_costs_are_counted_and_failed_calls_are_parts_of_runs():
    """Two calls of each run failed, of one the cost is not known."""
    rows = job()
    for at, row in enumerate(rows):
        if at % 5 < 2:
            row |= {"status_code": "ERROR", "cost_usd": None, "input_tokens": None, "output_tokens": None}
        elif at % 5 == 2:
            row["cost_usd"] = None
    report = settled(lake(rows))
    assert report.findings[0].estimate.high.usd == 56 * 2 * SAVED
    assert report.notes == (
        "56 calls that run like clockwork are left out, of which cost or usage is not known",
    )


def test_pricing_modes_stay_apart_and_an_undeclared_plan_is_said():
    plans = {"api": "api", "subscription": "team", "unknown": "unknown"}
    calls = [
        row | {"pricing_mode": mode, "plan_tier": plan, "session_id": f"{mode}-{row['session_id']}"}
        for mode, plan in plans.items()
        for row in job()
    ]
    report = settled(lake(calls))
    assert {each.estimate.basis: each.estimate.high.usd for each in report.findings} == dict.fromkeys(
        ("spend", "implied API value", "list price, plan not declared"), 280 * SAVED
    )
    assert any("Declare the plan" in note for note in report.notes)


def test_services_and_agents_are_apart_and_the_order_of_rows_changes_nothing():
    rows = [*job(), *job(8 * HOUR, agent_name=None, service_name="shop")]
    ordered = settled(lake(rows))
    assert [each.dimension.get("service") for each in ordered.findings] == [None, "shop"]
    random.Random(7).shuffle(rows)
    assert settled(lake(rows)) == ordered


def test_the_page_shows_what_is_printed(tmp_path: Path):
    """Two weeks of a job that summarizes every six hours, in five calls."""
    rows = job(late=30, agent_name="summarizer")
    calls = (row | {"call_id": f"call-{at:03}"} for at, row in enumerate(rows))
    assert_example("batch-eligible", lake_with_calls(tmp_path / "data", *calls))


# --- chance


def by_chance(pick: random.Random, agent: str, per_day: float) -> Iterator[Row]:
    """Calls that come whenever they come."""
    at = START + pick.expovariate(per_day) * DAY
    while at < START + 14 * DAY:
        yield one(at, agent_name=agent)
        at += pick.expovariate(per_day) * DAY


def test_of_what_comes_by_chance_nothing_is_regular():
    """100 agents, which call from once a day to every ten minutes."""
    pick = random.Random(11)
    alarms = 0
    for part in range(2):
        agents = range(50)
        rows = (
            row
            for agent in agents
            for row in by_chance(pick, f"{part}-{agent}", pick.choice([1, 3, 10, 40, 144]))
        )
        alarms += len(settled(lake(rows)).rows)
    assert alarms < 2


@pytest.mark.parametrize("lakes", [20, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("sessions", "agents"), [(12.0, 6), (4.0, 3)], ids=["busy", "a session a day"])
def test_of_lakes_of_sessions_fewer_than_one_in_twenty_raises_an_alarm(
    lakes: int, sessions: float, agents: int
):
    """At work around noon, fewer at weekends, sessions of some minutes."""
    quiet = Quiet(first_day=dt.date(2026, 10, 19), sessions_a_day=sessions, agents=agents)
    alarms = sum(
        bool(settled(connection, quiet.window()).rows) for _, connection in planted.quiet_lakes(lakes, quiet)
    )
    assert alarms < lakes / 20


@pytest.mark.parametrize("parts", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_the_interval_holds_the_planted_mean_in_nine_of_ten_lakes(parts: int):
    """Jobs in the place of lakes, 60 in each part: every six hours with a number of calls that differs by job, by
    weekday and by day. A call saves 0.00175 USD."""
    pick = random.Random(20260305)
    held = total = 0
    for part in range(parts):
        rates = {f"{part}-{number}": pick.uniform(0.5, 2) for number in range(60)}
        connection = lake(row for agent, rate in rates.items() for row in loaded(pick, agent, rate))
        for finding in settled(connection, window(28)).findings:
            mean = 4 * Decimal(1 + rates[str(finding.dimension["agent"])]) * SAVED * MONTH
            held += finding.estimate.low_per_month.usd <= mean <= finding.estimate.high_per_month.usd
            total += 1
    assert total >= 57 * parts
    assert held / total >= 0.9


def loaded(pick: random.Random, agent: str, rate: float) -> Iterator[Row]:
    """One call in each run and `rate` more in the mean over weekdays, weekends and busy days."""
    for day in range(28):
        weekend = (START + day * DAY).weekday() >= 5
        expected = rate * (0.5 if weekend else 1.2) * pick.choice([0.8, 0.8, 0.8, 1.6])
        for run in range(4):
            begun = START + day * DAY + run * 6 * HOUR
            for call in range(1 + sum(pick.random() < expected / 20 for _ in range(20))):
                yield one(begun + call * 2 * SECOND, agent_name=agent)

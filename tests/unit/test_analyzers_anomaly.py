"""Days, models, users and sessions out of line: what is planted is found, and quiet lakes are silent."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from analyzers import frame, honest, registry
from analyzers.finding import Finding, Report
from analyzers.window import Window
from tests.calls_table import call, replace_calls
from tests.calls_table import calls_table as empty_table
from tests.planted import Quiet, quiet_lakes

DAY = dt.timedelta(days=1)


START = dt.datetime(2026, 2, 2)  # a Monday
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
DAYS = 35
PLANTED = 30
# Beside other work 200 lakes take minutes.
SOAK = (pytest.mark.soak, pytest.mark.timeout(600))


def calls_table(*rows: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Hundreds of calls at once."""
    connection = empty_table()
    replace_calls(connection, rows)
    return connection


def last(days: int, of: int = DAYS, timezone: str = "UTC") -> Window:
    """The last of so many days."""
    end = START.replace(tzinfo=dt.UTC) + of * DAY
    return Window(end - days * DAY, end, timezone)


def reported(connection: duckdb.DuckDBPyConnection, window: Window | None = None, **settings: Any) -> Report:
    return registry.get("anomaly").run(connection, window or last(7), settings)


def settled(
    connection: duckdb.DuckDBPyConnection, window: Window | None = None, **settings: Any
) -> tuple[Finding, ...]:
    reports = {"anomaly": reported(connection, window, **settings)}
    return frame.settle(connection, window or last(7), NOW, reports)["anomaly"].findings


def steady(days: int = DAYS, seed: int = 1, **columns: Any) -> list[dict[str, Any]]:
    """Five sessions of four calls a day, two on weekends, which differ by a tenth or so: about 20 USD a working day."""
    choose = random.Random(seed)
    return [
        call(
            call_id=f"{columns.get('agent_name')}-{day}-{number}-{step}",
            start_time=START + day * DAY + dt.timedelta(hours=9 + number, minutes=step),
            session_id=f"{columns.get('agent_name')}-{day}-{number}",
            user_id=f"user-{number}",
            cost_usd=Decimal(f"{choose.uniform(0.8, 1.2):.6f}"),
            **({"agent_name": "planner"} | columns),
        )
        for day in range(days)
        for number in range(2 if day % 7 in (5, 6) else 5)
        for step in range(4)
    ]


def about(findings: Sequence[Finding], *names: str) -> list[Finding]:
    """Those about exactly these."""
    return [one for one in findings if set(one.dimension) == set(names)]


def test_a_planted_day_is_found_with_what_made_it():
    """Wednesday, 4 March, has four times the calls, each twice as dear for as many tokens."""
    day = START + PLANTED * DAY
    rows = steady()
    rows = [
        one | {"cost_usd": 2 * one["cost_usd"]} if one["start_time"].date() == day.date() else one
        for one in rows
    ]
    own = [one for one in rows if one["start_time"].date() == day.date()]
    rows += [one | {"call_id": f"{one['call_id']}-{copy}"} for one in own for copy in range(3)]
    (finding,) = about(settled(calls_table(*rows)), "day")
    assert finding.dimension == {"day": "2026-03-04"}
    evidence = finding.evidence
    cost = sum(one["cost_usd"] for one in own) * 4
    assert evidence["cost"] == honest.Amount("api", cost)
    assert 7 < evidence["times"] < 9
    assert (evidence["calls"], evidence["compared_calls"], evidence["compared_with"]) == (80, 20, 4)
    # From 20 calls at 1 USD to 80 at 2: 60 more at 1.5, and the rest a dollar more for each of 50.
    assert float(evidence["volume_effect"].usd) == pytest.approx(90, rel=0.05)
    assert float(evidence["rate_effect"].usd) == pytest.approx(50, rel=0.1)
    assert (evidence["mix_effect"].usd, evidence["size_effect"].usd) == (0, 0)
    effects = sum(evidence[f"{name}_effect"].usd for name in ("volume", "mix", "price"))
    assert effects == evidence["cost"].usd - evidence["compared"].usd
    assert len(finding.examples) == 5
    assert set(finding.examples) <= {one["call_id"] for one in rows if one["start_time"].date() == day.date()}
    assert finding.p_value < 0.02


def test_a_planted_model_user_and_session_are_found():
    """On 4 March one model, one user and one session cost far more than they ever did; the day as a whole hardly does,
    beside another agent that costs a hundred times as much."""
    rows = steady() + [
        one | {"cost_usd": 100 * one["cost_usd"]}
        for one in steady(seed=2, agent_name="big", request_model="gpt-4.1")
    ]
    planted = [
        call(
            start_time=START + PLANTED * DAY + dt.timedelta(hours=20, minutes=step),
            session_id="planted",
            user_id="user-3",
            agent_name="planner",
            cost_usd=Decimal(5),
        )
        for step in range(30)
    ]
    rows = [one | {"user_id": f"{one['agent_name']} {one['user_id']}"} for one in rows]
    planted = [one | {"user_id": "planner user-3"} for one in planted]
    findings = settled(calls_table(*rows, *planted))
    assert about(findings, "day") == []
    (model,) = about(findings, "day", "model")
    (user,) = about(findings, "day", "user")
    (session,) = about(findings, "session")
    assert model.dimension == {"day": "2026-03-04", "model": "gpt-4o"}
    assert user.dimension == {"day": "2026-03-04", "user": "planner user-3"}
    assert session.dimension == {"session": "planted"}
    assert session.evidence["cost"] == honest.Amount("api", Decimal(150))
    assert session.evidence["calls"] == 30
    assert session.evidence["volume_effect"].usd > session.evidence["rate_effect"].usd > 0
    assert "more calls" in session.action


def test_the_same_day_has_the_same_finding_whatever_the_window():
    rows = steady()
    rows += [
        one | {"call_id": f"{one['call_id']}-{copy}"}
        for one in rows
        if one["start_time"].date() == (START + PLANTED * DAY).date()
        for copy in range(9)
    ]
    connection = calls_table(*rows)
    found = {about(settled(connection, last(days)), "day")[0].finding_id for days in (6, 7, 14, DAYS)}
    assert len(found) == 1


@pytest.mark.parametrize(
    ("lakes", "quiet", "days"),
    [
        (20, Quiet(days=28, growth=0.01, sessions_a_day=8, users=6, agents=4), 28),
        pytest.param(200, Quiet(days=35, growth=0.01), 35, marks=SOAK),
        pytest.param(200, Quiet(days=49, growth=0.005, users=30, seed=500), 7, marks=SOAK),
        pytest.param(200, Quiet(days=49, sessions_a_day=3, users=3, seed=1000), 7, marks=SOAK),
        pytest.param(
            200,
            Quiet(days=49, sessions_a_day=20, spread=1.7, unrest=0.3, mood=0.3, seed=1500),
            7,
            marks=SOAK,
        ),
    ],
    ids=["short", "month", "week", "few sessions", "uneven days"],
)
def test_quiet_lakes_have_findings_in_fewer_than_one_of_twenty(lakes: int, quiet: Quiet, days: int):
    """Weekdays, growth, sessions that differ a thousandfold, users that do more than others; every cent counts."""
    alarms = 0
    for lake, connection in quiet_lakes(lakes, quiet):
        end = lake.window().end
        alarms += bool(settled(connection, Window(end - days * DAY, end), least_usd="0.01"))
    assert alarms <= 0.05 * lakes


_AGAIN = """
    INSERT INTO calls BY NAME
    SELECT * EXCLUDE (number) REPLACE (call_id || ' ' || number AS call_id, {session} AS session_id)
    FROM (SELECT calls.*, number FROM calls, range({times}) AS again (number) WHERE {{day}})
"""
PLANTED_DAYS = {
    # Every call costs eight times as much.
    "cost_per_call": "UPDATE calls SET cost_usd = 8 * cost_usd WHERE {day}",
    # Every session goes on for five times as many calls.
    "calls_per_session": _AGAIN.format(session="session_id", times=4),
    # Three more sessions like each.
    "sessions": _AGAIN.format(session="session_id || ' ' || number", times=3),
}


@pytest.mark.parametrize("side", PLANTED_DAYS)
def test_a_day_is_told_by_what_its_cost_is_made_of(side: str):
    """Scenario: Wednesday, 18 March, of seven weeks with a dozen sessions a day, which differ a thousandfold, so that a
    day's cost alone tells little. Guarantee: in at least half of eight lakes it is found, and as what it is."""
    quiet = Quiet(days=49, seed=9100, modes=(("api", "api"),))
    found = 0
    for lake, connection in quiet_lakes(8, quiet):
        day = dt.date(2026, 3, 18)
        connection.execute(PLANTED_DAYS[side].format(day=f"start_time::DATE = DATE '{day}'"))
        end = lake.window().end
        for finding in about(settled(connection, Window(end - 7 * DAY, end), least_usd="0.01"), "day"):
            assert finding.dimension == {"day": str(day)}
            assert side in finding.evidence["unusual"]
            found += 1
    assert found >= 4


def test_a_planted_agent_is_found():
    """On 4 March each call of one agent costs ten times as much: beside another that costs a thousand times more, the
    day as a whole shows nothing."""
    rows = [
        one | {"cost_usd": 10 * one["cost_usd"]} if one["start_time"].date() == dt.date(2026, 3, 4) else one
        for one in steady()
    ]
    rows += [
        one | {"cost_usd": 1000 * one["cost_usd"], "user_id": "else"}
        for one in steady(seed=2, agent_name="big", request_model="gpt-4.1")
    ]
    findings = settled(calls_table(*rows))
    assert about(findings, "day") == []
    (agent,) = about(findings, "day", "agent")
    assert agent.dimension == {"day": "2026-03-04", "agent": "planner"}
    assert agent.evidence["calls"] == agent.evidence["compared_calls"] == 20


BUSY = Quiet(days=49, sessions_a_day=40, agents=3, modes=(("api", "api"),), seed=9400)
SILENT_FROM = "DELETE FROM calls WHERE start_time >= TIMESTAMP '2026-03-17' AND {about}"


def busy_window(days: float, end: dt.datetime | None = None) -> Window:
    end = end or BUSY.window().end
    return Window(end - days * DAY, end)


def test_silence_is_found_on_its_first_day():
    """From Tuesday, 17 March, nothing comes in any more. Guarantee: whatever the window, one finding, which names that
    day; none where it begins later."""
    ((_, connection),) = quiet_lakes(1, BUSY)
    connection.execute(SILENT_FROM.format(about="true"))
    for days in (6, 14):
        findings = settled(connection, busy_window(days), least_usd="0.01")
        (finding,) = about(findings, "day")
        assert (finding.kind, finding.dimension) == ("fall", {"day": "2026-03-17"})
        assert "on 2026-03-17: only 0.0 times the usual" in finding.title
        assert finding.evidence["cost"] == honest.Amount("api", Decimal(0))
        assert finding.evidence["usual"].usd > 1
        assert finding.evidence["calls"] == 0 < finding.evidence["compared_calls"]
        assert len({one.finding_id for one in findings}) == len(findings)
    assert settled(connection, busy_window(5), least_usd="0.01") == ()


def test_an_agent_that_falls_silent_is_found_beside_the_others():
    ((_, connection),) = quiet_lakes(1, BUSY)
    connection.execute(SILENT_FROM.format(about="agent_name = 'agent-0'"))
    (finding,) = settled(connection, busy_window(7), least_usd="0.01")
    assert (finding.kind, finding.dimension) == ("fall", {"day": "2026-03-17", "agent": "agent-0"})


def test_a_day_that_is_not_over_has_not_fallen():
    """At six in the morning a day has cost next to nothing."""
    ((_, connection),) = quiet_lakes(1, BUSY)
    morning = dt.datetime(2026, 3, 20, 6, tzinfo=dt.UTC)
    assert settled(connection, busy_window(7, morning), least_usd="0.01") == ()


def test_less_than_the_least_amount_is_no_anomaly():
    rows = [one | {"cost_usd": one["cost_usd"] / 1000} for one in steady()]
    rows += [
        one | {"call_id": f"{one['call_id']}-{copy}"}
        for one in rows
        if one["start_time"].date() == (START + PLANTED * DAY).date()
        for copy in range(20)
    ]
    connection = calls_table(*rows)
    assert settled(connection) == ()
    assert about(settled(connection, least_usd="0.1"), "day")


def test_a_model_without_a_history_is_counted_and_not_judged():
    rows = steady() + [one | {"request_model": "new"} for one in steady(seed=5, agent_name="other")[-60:]]
    report = reported(calls_table(*rows))
    assert any(note.startswith("1 models cost something on fewer than 14") for note in report.notes)
    assert not any("new" in one.title for one in report.findings)


def test_a_day_that_is_not_over_is_judged_by_what_it_cost_so_far():
    """At noon of the last day it has cost ten times what whole days cost."""
    day = START + (DAYS - 1) * DAY
    rows = [one for one in steady() if one["start_time"] < day]
    rows += [
        call(start_time=day + dt.timedelta(hours=8, minutes=at), cost_usd=Decimal(4)) for at in range(50)
    ]
    rows += [call(start_time=day + dt.timedelta(hours=13), cost_usd=Decimal(10_000))]
    noon = (day + dt.timedelta(hours=12)).replace(tzinfo=dt.UTC)
    (finding,) = about(settled(calls_table(*rows), Window(noon - 7 * DAY, noon)), "day")
    assert finding.evidence["cost"] == honest.Amount("api", Decimal(200))
    assert "the day is judged by what was known of it until 12:00" in finding.caveats


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no calls"),
        ([call(start_time=START)], "nothing can be judged"),
        ([one | {"cost_usd": None} for one in steady()], "116 calls of these days have no known cost"),
        (steady(10), "nothing can be judged"),
    ],
    ids=["empty", "one call", "unknown costs", "ten days"],
)
def test_what_cannot_be_judged_is_said(rows: list[dict[str, Any]], says: str):
    report = reported(calls_table(*rows), last(7, 10 if len(rows) < 300 else DAYS))
    assert (report.rows, report.findings) == ((), ())
    assert any(says in note for note in report.notes)


def test_pricing_modes_are_judged_apart_and_undeclared_plans_said():
    """What a subscription's day is worth is out of line, beside the same day's spend, which is not."""
    rows = steady()
    for mode, plan in (("subscription", "pro"), ("unknown", "unknown")):
        rows += [
            one | {"pricing_mode": mode, "plan_tier": plan, "cost_usd": one["cost_usd"] * (9 if late else 1)}
            for one in steady(seed=4, agent_name=mode)
            for late in [
                mode == "subscription" and one["start_time"].date() == (START + PLANTED * DAY).date()
            ]
        ]
    connection = calls_table(*rows)
    (finding,) = about(settled(connection), "day")
    assert finding.evidence["cost"].pricing_mode == "subscription"
    assert finding.title.startswith("implied API value (beside the fee) of all calls on 2026-03-04")
    report = reported(connection)
    assert len(report.rows) == 3 * 7
    assert any("Declare the plan" in note for note in report.notes)


def test_the_order_of_rows_does_not_matter():
    rows = steady()
    rows += [
        call(start_time=START + PLANTED * DAY, session_id="big", agent_name="planner", cost_usd=Decimal(300))
    ]
    seen = []
    for turn in range(2):
        random.Random(turn).shuffle(rows)
        connection = calls_table(*rows)
        seen.append((reported(connection).as_dict(), settled(connection)))
    assert seen[0] == seen[1]
    assert seen[0][1]


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/New_York"])
def test_days_are_those_of_the_wall_clock_where_clocks_change(timezone: str):
    """New York put its clocks forward on 8 March 2026, Berlin on the 29th. A call at each local half past midnight and
    half past eleven in the evening costs the same on each day; on the day after the change it costs nine times that."""
    zone = ZoneInfo(timezone)
    change = dt.date(2026, 3, 29) if timezone == "Europe/Berlin" else dt.date(2026, 3, 8)
    rows = [
        call(
            start_time=dt.datetime.combine(day, time, zone).astimezone(dt.UTC).replace(tzinfo=None),
            cost_usd=Decimal(9 if day == change + DAY else 1),
        )
        for number in range(-35, 4)
        for day in [change + number * DAY]
        for time in (dt.time(0, 30), dt.time(23, 30))
    ]
    ends = [dt.datetime.combine(change + at * DAY, dt.time(), zone).astimezone(dt.UTC) for at in (-3, 4)]
    report = reported(calls_table(*rows), Window(*ends, timezone))
    assert [(row[0], row[2]) for row in report.rows] == [
        (change + number * DAY, Decimal(18 if number == 1 else 2)) for number in range(-3, 4)
    ]
    assert [one.dimension for one in about(report.findings, "day")] == [{"day": str(change + DAY)}]

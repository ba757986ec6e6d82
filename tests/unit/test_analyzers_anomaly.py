"""Days, models, users and sessions out of line: what is planted is found, and lakes where nothing happens are silent."""

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
from tests.calls_table import call, calls_table
from tests.planted import Quiet, quiet_lakes

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 2, 2)  # a Monday
NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
DAYS = 35
PLANTED = 30


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
    assert {one.rsplit("-", 4)[0] for one in finding.examples} == {"None"} or len(finding.examples) == 5
    assert finding.p_value < 0.03


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

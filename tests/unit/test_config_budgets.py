"""Budgets in the configuration: what they come to, and the line of what cannot be one. Their periods."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from analyzers.budget_terms import Budget, Length, span, spans
from collector.config import Config, ConfigError, load_config
from semconv.settings import AccountPlan


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "collector.yaml"
    path.write_text(text)
    return load_config(path, {}, {})


GOOD = """
dimensions: {job: {attribute: app.job}}
budgets:
  - {name: everything, usd: 499.99, action: fail}
  - {name: agents, tokens: 5_000_000, each: agent, period: day, warn_at: 0.5}
  - {name: night, usd: "12.5", scope: {job: night, provider: openai}, period: week, action: skip}
  - {name: plan, tokens: 1000, scope: {billing_account: coding}, period: cycle}
"""


def test_what_is_written_is_what_analyzers_get(tmp_path: Path) -> None:
    """Amounts to the last digit; the supervisor can hand it on as JSON."""
    config = loaded(tmp_path, GOOD)
    assert config.analyzer_facts()["budgets"] == (
        Budget("everything", usd=Decimal("499.99"), action="fail"),
        Budget("agents", tokens=5_000_000, each="agent", period="day", warn_at=Decimal("0.5")),
        Budget(
            "night",
            Decimal("12.5"),
            scope={"job": "night", "provider": "openai"},
            period="week",
            action="skip",
        ),
        Budget("plan", tokens=1000, scope={"billing_account": "coding"}, period="cycle"),
    )
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{name: a}", "budgets[0]: a budget is in dollars or in tokens"),
        ("{name: a, usd: 1, tokens: 1}", "budgets[0]: a budget is in dollars or in tokens"),
        ("{usd: 1}", "budgets[0].name: this key is required"),
        ("{name: a, usd: 0}", "budgets[0].usd: 0 is not allowed"),
        ("{name: a, tokens: 1.5}", "budgets[0].tokens: 1.5 is not allowed"),
        ("{name: a, usd: 1, period: year}", "use 'day', 'week', 'month' or 'cycle'"),
        ("{name: a, usd: 1, action: stop}", "use 'warn', 'fail' or 'skip'"),
        ("{name: a, usd: 1, warn_at: 80}", "budgets[0].warn_at: 80 is not allowed"),
        (
            "{name: a, usd: 1, scope: {team: x}}",
            "budgets[0].scope: there is no dimension 'team'; allowed: agent, ",
        ),
        ("{name: a, usd: 1, each: team}", "budgets[0].each: there is no dimension 'team'"),
        ("{name: a, usd: 1, each: user, scope: {user: x}}", "budgets[0].each: user has one value here"),
        ("{name: a, usd: 1, period: cycle}", "budgets[0].period: a billing cycle is an account's"),
        ("{name: a, usd: 1}, {name: a, usd: 2}", "budgets[1].name: 'a' is there already"),
        ("{name: a, usd: 1, limit: 1}", "budgets[0].limit: there is no such key"),
    ],
)
def test_what_cannot_be_a_budget_is_one_line_with_its_key(tmp_path: Path, entry: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"budgets: [{entry}]")
    assert expected in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_users_who_are_dropped_have_no_budget(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"budgets\[0\]\.each: no call has a user"):
        loaded(tmp_path, "redaction: {user_ids: drop}\nbudgets: [{name: a, usd: 1, each: user}]")


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("period", "at", "start", "end"),
    [
        ("day", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),  # of 23 hours
        ("day", "2026-10-25T12:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),  # of 25
        ("day", "2026-03-29T22:00Z", "2026-03-29T22:00Z", "2026-03-30T22:00Z"),  # its first moment
        ("week", "2026-03-29T12:00Z", "2026-03-22T23:00Z", "2026-03-29T22:00Z"),  # a Sunday is its last day
        ("week", "2026-01-01T12:00Z", "2025-12-28T23:00Z", "2026-01-04T23:00Z"),
        ("month", "2026-03-29T12:00Z", "2026-02-28T23:00Z", "2026-03-31T22:00Z"),
        ("month", "2026-12-31T23:00Z", "2026-12-31T23:00Z", "2027-01-31T23:00Z"),
        (
            "cycle",
            "2026-03-30T12:00Z",
            "2026-02-27T23:00Z",
            "2026-03-30T22:00Z",
        ),  # from the 31st, or the last day
        ("cycle", "2026-03-31T12:00Z", "2026-03-30T22:00Z", "2026-04-29T22:00Z"),
    ],
)
def test_periods_are_those_of_the_local_calendar(period: Length, at: str, start: str, end: str) -> None:
    found = span(period, moment(at), "Europe/Berlin", 31)
    assert (found.start, found.end) == (moment(start), moment(end))
    assert found.start <= moment(at) < found.end


def test_a_cycle_is_that_of_the_plan_in_force() -> None:
    """An account that changed its plan on the 16th follows the new plan's cycle; one without a plan the calendar's."""
    plans = [
        AccountPlan("coding", "pro", cycle_start_day=5),
        AccountPlan("coding", "max_5x", since=dt.date(2026, 3, 16), cycle_start_day=16),
    ]
    each = Budget("a", tokens=1, each="billing_account", period="cycle")
    before, after = (spans(each, moment(f"2026-03-{day}T12:00Z"), "UTC", plans) for day in (15, 16))
    assert [before["coding"].first_day, after["coding"].first_day] == [
        dt.date(2026, 3, 5),
        dt.date(2026, 3, 16),
    ]
    assert before[None].first_day == dt.date(2026, 3, 1)
    one = Budget("a", tokens=1, scope={"billing_account": "coding"}, period="cycle")
    assert spans(one, moment("2026-03-16T12:00Z"), "UTC", plans) == {None: after["coding"]}


def test_states() -> None:
    """What is used up is exceeded: nothing is left."""
    budget = Budget("a", usd=Decimal(10))
    assert [budget.state(Decimal(used)) for used in ("7.99", "8", "9.99", "10")] == [
        "ok",
        "warn",
        "warn",
        "exceeded",
    ]

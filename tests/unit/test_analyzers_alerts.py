"""Alert rules over made-up calls: what fires, with which figures, and what must not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from analyzers import alerts, honest, registry
from analyzers.alerts import CacheShare, DailySpend, ErrorRate, Event, Rule, UnitCost, of_finding
from analyzers.finding import Finding, finding_id
from analyzers.setting import BadSetting
from analyzers.window import Window
from collector.store.lake import Lake
from tests.calls_table import call, calls_table, insert_calls
from tests.captured_lake import captured_lake

NOW = dt.datetime(2026, 3, 10, 18, 0, tzinfo=dt.UTC)
WEEK = dt.timedelta(days=7)
HOUR = dt.timedelta(hours=1)
RULES: tuple[Rule, ...] = (
    DailySpend("spend", Decimal(5)),
    DailySpend("by-agent", Decimal(5), "agent"),
    UnitCost("unit", Decimal(1), "session", WEEK),
    CacheShare("cache", Decimal("0.3"), WEEK, None, 1000),
    CacheShare("cache-by-model", Decimal("0.3"), WEEK, "model", 1000),
    ErrorRate("errors", Decimal("0.1"), HOUR, None, 10),
    ErrorRate("errors-by-provider", Decimal("0.1"), HOUR, "provider", 10),
)


@cache
def table(dimensions: tuple[str, ...] = ()) -> duckdb.DuckDBPyConnection:
    return calls_table(dimensions=dimensions)


def fired(
    rule: Rule,
    *rows: dict[str, Any],
    now: dt.datetime = NOW,
    timezone: str = "UTC",
    dimensions: tuple[str, ...] = (),
) -> list[Event]:
    connection = table(dimensions)
    connection.execute("DELETE FROM calls")
    insert_calls(connection, "calls", rows)
    return list(rule.events(connection, now, timezone))


def spent(usd: str, **columns: Any) -> dict[str, Any]:
    return call(cost_usd=Decimal(usd), **columns)


# --- daily spend


def test_spend_of_today_above_the_limit_says_amount_day_and_what_it_leaves_out() -> None:
    """Scenario: 6.5 USD of spend, one call without a known cost, one on a subscription worth far more. Guarantee: only
    spend counts, and both others are counted in words."""
    rule = DailySpend("spend", Decimal(5))
    (event,) = fired(
        rule,
        spent("6"),
        spent("0.5"),
        call(cost_usd=None),
        spent("100", pricing_mode="subscription", plan_tier="pro"),
    )
    assert event.title == "spend: 6.500000 USD on 2026-03-10, above 5 USD"
    assert event.evidence["spend"] == honest.Amount("api", Decimal("6.5"))
    assert event.caveats == (
        "calls whose cost is not known: 1; the spend is at least this",
        "calls that are no spend, and not counted: 1 (on a subscription, local, or of a plan that is not declared)",
    )
    assert (event.about, event.once) == ({"day": "2026-03-10"}, True)


@pytest.mark.parametrize("mode", ["subscription", "unknown", "local"])
def test_what_is_no_spend_never_fires(mode: str) -> None:
    assert fired(DailySpend("spend", Decimal(5)), spent("100", pricing_mode=mode)) == []


def test_the_limit_itself_is_not_above_it() -> None:
    assert fired(DailySpend("spend", Decimal(5)), spent("5")) == []
    assert len(fired(DailySpend("spend", Decimal(5)), spent("5.000000000001"))) == 1


def test_yesterday_fires_too_as_calls_may_come_late_and_the_day_before_does_not() -> None:
    days = [spent("6", start_time=dt.datetime(2026, 3, day, 12)) for day in (8, 9, 10)]
    events = fired(DailySpend("spend", Decimal(5)), *days)
    assert [event.about["day"] for event in events] == ["2026-03-10", "2026-03-09"]
    assert len({event.key for event in events}) == 2


def test_each_value_has_a_limit_of_its_own_and_calls_without_one_too() -> None:
    """The dearest comes first; the key tells them apart, and is the same in another run."""
    rows = [spent("6", agent_name="a"), spent("4", agent_name="b"), spent("7", agent_name=None)]
    events = fired(DailySpend("spend", Decimal(5), "agent"), *rows)
    assert [event.about["agent"] for event in events] == [None, "a"]
    assert [event.title.partition(", ")[2] for event in events] == [
        "no agent, above 5 USD",
        "agent a, above 5 USD",
    ]
    again = fired(DailySpend("spend", Decimal(5), "agent"), *reversed(rows))
    assert [event.key for event in again] == [event.key for event in events]


@pytest.mark.parametrize(
    ("zone", "now", "edges"),
    [
        # 23 hours long: clocks are put forward on 29 March 2026 in Berlin, 25 hours on 25 October.
        ("Europe/Berlin", "2026-03-29T21:59:00+00:00", ("2026-03-28T23:00", "2026-03-29T22:00")),
        ("Europe/Berlin", "2026-03-28T23:10:00+00:00", ("2026-03-28T23:00", "2026-03-29T22:00")),
        ("Europe/Berlin", "2026-10-24T22:10:00+00:00", ("2026-10-24T22:00", "2026-10-25T23:00")),
        ("Europe/Berlin", "2026-10-25T22:50:00+00:00", ("2026-10-24T22:00", "2026-10-25T23:00")),
        ("UTC", "2026-03-29T23:59:59+00:00", ("2026-03-29T00:00", "2026-03-30T00:00")),
    ],
)
def test_a_day_is_one_of_the_zone_across_a_change_of_the_clock(
    zone: str, now: str, edges: tuple[str, str]
) -> None:
    """Guarantee: what is spent in the first and in the last minute of the local day is today's, and no more."""
    first, end = map(dt.datetime.fromisoformat, edges)
    moments = [first, end - dt.timedelta(minutes=1), first - dt.timedelta(minutes=1), end]
    rows = [spent(f"{4**place}", start_time=moment) for place, moment in enumerate(moments)]
    at = dt.datetime.fromisoformat(now)
    (today, *_) = fired(DailySpend("spend", Decimal(1)), *rows, now=at, timezone=zone)
    assert today.about["day"] == str(at.astimezone(ZoneInfo(zone)).date())
    assert today.evidence["spend"] == honest.Amount("api", Decimal(5))


# --- cost per unit


def test_the_mean_per_unit_is_that_of_units_with_a_known_cost() -> None:
    """Scenario: sessions of 3 and 1 USD, one on a subscription, one call without a session."""
    rows = [
        spent("3", session_id="s1"),
        spent("1", session_id="s2"),
        spent("50", session_id="s3", pricing_mode="subscription"),
        spent("9"),
        call(session_id="s2", cost_usd=None),
    ]
    (event,) = fired(UnitCost("unit", Decimal("1.9"), "session", WEEK), *rows)
    assert event.title == "spend: 2.000000 USD per unit of session in the last 7d, above 1.9 USD"
    assert (event.evidence["units"], event.once) == (2, False)
    assert event.caveats == ("calls whose cost is not known: 1; the spend is at least this",)
    assert fired(UnitCost("unit", Decimal(2), "session", WEEK), *rows) == []


# --- cache share


def cached(read: int | None, input_tokens: int | None = 1000, **columns: Any) -> dict[str, Any]:
    return call(input_tokens=input_tokens, cache_read_tokens=read, **columns)


def test_a_low_cache_share_is_that_of_calls_that_say_what_they_read() -> None:
    """Scenario: 10 % of those that say it, and a call that does not. Guarantee: it is left out, not taken as 0."""
    rule = CacheShare("cache", Decimal("0.3"), WEEK, None, 2000)
    (event,) = fired(rule, cached(200), cached(0), cached(None, 100_000))
    assert event.title == "10.0% of 2,000 input tokens came from a cache in the last 7d, below 30.0%"
    assert event.caveats == ("calls that do not say what they read from a cache, and are left out: 1",)
    assert fired(rule, cached(None, 100_000)) == []
    assert fired(rule, cached(200, 1999)) == []
    assert fired(rule, cached(600), cached(0)) == []


def test_the_window_ends_now_and_is_as_long_as_the_rule_says() -> None:
    old, late = (
        cached(0, start_time=(NOW - WEEK - HOUR).replace(tzinfo=None)),
        cached(0, start_time=(NOW + HOUR).replace(tzinfo=None)),
    )
    assert fired(CacheShare("cache", Decimal("0.3"), WEEK), old, late) == []


# --- errors


def test_the_error_rate_of_the_last_hour_needs_enough_calls() -> None:
    recent = dt.datetime(2026, 3, 10, 17, 30)
    failed = [call(start_time=recent, status_code="ERROR", input_tokens=None, output_tokens=None)] * 3
    fine = [call(start_time=recent)] * 7
    rule = ErrorRate("errors", Decimal("0.2"), HOUR, None, 10)
    (event,) = fired(rule, *failed, *fine)
    assert event.title == "3 of 10 calls failed (30.0%) in the last 1h, above 20.0%"
    assert fired(rule, *failed, *fine[1:]) == []
    assert fired(ErrorRate("errors", Decimal("0.3"), HOUR, None, 10), *failed, *fine) == []


def test_of_many_values_the_worst_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guarantee: a rule of each session cannot flood: MOST_EVENTS, those that cost most."""
    monkeypatch.setattr(alerts, "MOST_EVENTS", 3)
    rows = [spent(str(10 + number), session_id=f"s{number}") for number in range(5)]
    events = fired(DailySpend("spend", Decimal(5), "session"), *rows)
    assert [event.about["session"] for event in events] == ["s4", "s3", "s2"]


# --- every rule


def test_a_dimension_that_calls_lack_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadSetting, match="no dimension 'lead'; allowed: "):
        fired(DailySpend("spend", Decimal(5), "lead"))
    assert fired(DailySpend("spend", Decimal(5), "lead"), spent("6", lead="x"), dimensions=("lead",))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("rows", [[], [call()], [call(input_tokens=None, output_tokens=None)] * 30])
def test_an_empty_lake_one_call_and_unknown_tokens_are_quiet(rule: Rule, rows: list[dict[str, Any]]) -> None:
    """Guarantee: unknown is never taken for 0, nor for too much."""
    assert fired(rule, *rows) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_order_of_rows_changes_nothing(rule: Rule) -> None:
    rows = mixed_rows()
    found = [event.as_dict() for event in fired(rule, *rows)]
    assert found
    assert [event.as_dict() for event in fired(rule, *reversed(rows))] == found


def mixed_rows() -> list[dict[str, Any]]:
    """Enough for every rule to fire, in all pricing modes."""
    recent = dt.datetime(2026, 3, 10, 17, 30)
    return [
        spent(
            "3",
            start_time=recent,
            pricing_mode=mode,
            agent_name=agent,
            session_id=f"{agent}-{number}",
            cache_read_tokens=0,
            input_tokens=900,
            status_code="ERROR" if number % 2 else "OK",
        )
        for mode in honest.MODES
        for agent in ("a", "b")
        for number in range(2)
    ]


def test_plans_that_nobody_declared_are_told_where_rules_look_at_spend() -> None:
    """Scenario: all calls lack a plan, so a limit on spend can never be passed. Guarantee: that is said."""
    undeclared = calls_table(spent("100", pricing_mode="unknown", plan_tier="unknown"))
    said = " ".join(alerts.notes(undeclared, RULES, NOW, "UTC"))
    assert "calls without a declared plan: 1" in said
    assert "Declare the plan" in said
    assert alerts.notes(undeclared, RULES[3:], NOW, "UTC") == ()


def test_the_figures_of_the_corpus_are_those_of_the_cost_report() -> None:
    """Scenario: what real libraries sent, loaded as it came; nobody declared a plan, so nothing of it is spend."""
    with Lake.open(captured_lake(), read_only=True, threads=1) as lake:
        first, last = lake.connection.execute(
            "SELECT min(start_time), max(start_time) FROM calls"
        ).fetchall()[0]
        now = last.replace(tzinfo=dt.UTC) + HOUR
        over = now - first.replace(tzinfo=dt.UTC)
        report = registry.get("cost").run(lake.connection, Window(now - over, now), {})
        totals = report.as_dict()["totals"]
        (errors,) = ErrorRate("errors", Decimal(0), over).events(lake.connection, now, "UTC")
        assert errors.evidence["calls"] == sum(row["calls"] for row in totals)
        failed = sum(row["calls"] * row["error_rate"] for row in totals)
        assert errors.evidence["failed_calls"] == round(failed) > 0
        (cache,) = CacheShare("cache", Decimal(1), over).events(lake.connection, now, "UTC")
        assert cache.evidence["cache_read_tokens"] == sum(row["cache_read_tokens"] or 0 for row in totals)
        assert list(DailySpend("spend", Decimal(0)).events(lake.connection, now, "UTC")) == []
        assert alerts.notes(lake.connection, RULES, now, "UTC")


# --- findings


def finding(kind: str, **dimension: str) -> Finding:
    return Finding(finding_id("budget", kind, dimension), "spend is out", dimension=dimension, kind=kind)


def test_a_finding_becomes_an_event_with_all_it_says() -> None:
    """Guarantee: another kind, or another dimension, is another event; the same one has the same key."""
    window = Window(NOW - HOUR, NOW)
    found = [finding("exceeded", budget="a"), finding("warning", budget="a"), finding("exceeded", budget="b")]
    events = [of_finding("rule", "budget", one, window) for one in found]
    assert [(event.kind, event.about["budget"], event.once) for event in events] == [
        ("budget exceeded", "a", True),
        ("budget warning", "a", True),
        ("budget exceeded", "b", True),
    ]
    assert len({event.key for event in events}) == 3
    assert of_finding("rule", "budget", found[0], Window(NOW, NOW + HOUR)).key == events[0].key


def test_an_event_cannot_hold_money_without_its_name() -> None:
    window = Window(NOW - HOUR, NOW)
    with pytest.raises(honest.UnnamedMoney):
        Event("rule", "kind", {}, "5 USD too much", window, once=False)
    with pytest.raises(honest.UnnamedMoney):
        Event("rule", "kind", {}, "too much", window, once=False, evidence={"usd": Decimal(5)})

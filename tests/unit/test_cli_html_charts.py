"""What the page of --html draws: over time, of budgets, of the cache.

Guarantee: each amount is drawn in its own pricing mode's chart, whole, under its day, week or month of the configured
time zone, and under its name or among the others; what is not known is said.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

import pytest

from analyzers import registry
from analyzers.budget_terms import Budget
from analyzers.window import Window
from collector.cli.html import panels
from collector.cli.html.page import page
from tests.calls_table import call, calls_table
from tests.html_pages import Page, on, page_over


def test_amounts_of_two_pricing_modes_are_in_no_chart_together() -> None:
    found = page_over(
        on(2, "1.5", agent_name="a"),
        on(3, "2", agent_name="b"),
        on(3, "30", agent_name="a", pricing_mode="subscription"),
        on(4, "400", agent_name="a", pricing_mode="unknown"),
        on(5, "5000", agent_name="a", pricing_mode="local"),
    )
    assert found.drawn("agent-api") == {"b": 2.0, "a": 1.5}
    assert found.drawn("agent-subscription") == {"a": 30.0}
    assert found.drawn("model-unknown") == {"gpt-4o": 400.0}
    assert found.drawn("model-local") == {"gpt-4o": 5000.0}
    for title in (
        "Spend by model",
        "Implied API value (beside the fee) by model",
        "List price, plan not declared by model",
        "Cost of local models as configured by model",
    ):
        assert title in found.text
    # No sum over modes is anywhere.
    assert not re.search(r"\b(5,?433|33\.5|431|403\.5)", found.text)


def test_a_name_keeps_its_colour_from_chart_to_chart() -> None:
    found = page_over(
        on(2, "3", agent_name="a"),
        on(2, "2", agent_name="b"),
        on(3, "9", agent_name="c", pricing_mode="subscription"),
        on(3, "1", agent_name="b", pricing_mode="subscription"),
    )
    slots = [
        {one["name"]: one["slot"] for one in found.figures[chart]["series"]}
        for chart in ("agent-api", "agent-subscription")
    ]
    assert slots == [{"a": 0, "b": 1}, {"c": 2, "b": 1}]


def test_days_without_calls_stand_between_those_with_calls() -> None:
    chart = page_over(on(2, "1"), on(5, "2")).figures["model-api"]
    assert chart["starts"] == [f"2026-03-0{day}" for day in range(2, 9)]
    assert chart["series"] == [{"name": "gpt-4o", "slot": 0, "values": [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]}]


def test_a_day_is_one_of_the_configured_time_zone() -> None:
    """Noon in UTC is one o'clock on the next day at UTC+13; the chart ends with the window's last day."""
    chart = page_over(on(2, "1"), timezone="Pacific/Tongatapu").figures["model-api"]
    assert chart["starts"] == [f"2026-03-0{day}" for day in range(3, 9)]


@pytest.mark.parametrize(
    ("days", "step", "first", "count"),
    [(92, "day", "2026-03-02", 92), (93, "week", "2026-03-02", 14), (729, "month", "2026-03-01", 24)],
)
def test_long_windows_are_drawn_by_week_or_month(days: int, step: str, first: str, count: int) -> None:
    until = (dt.date(2026, 3, 2) + dt.timedelta(days=days)).isoformat()
    last = dt.datetime(2026, 3, 1, 12) + dt.timedelta(days=days)
    found = page_over(on(2, "1"), call(start_time=last, cost_usd=Decimal(2)), until=until)
    chart = found.figures["model-api"]
    assert (chart["step"], chart["starts"][0], len(chart["starts"])) == (step, first, count)
    values = chart["series"][0]["values"]
    assert (values[0], sum(values), values[-1]) == (1.0, 3.0, 2.0)


def test_of_200_models_the_dearest_are_drawn_and_the_others_together() -> None:
    found = page_over(*(on(2 + n % 3, str(n), response_model=f"model-{n}") for n in range(1, 201)))
    drawn = found.drawn("model-api")
    assert list(drawn) == [*(f"model-{n}" for n in range(200, 194, -1)), "194 others"]
    assert drawn["194 others"] == sum(range(1, 195))
    assert found.figures["model-api"]["series"][-1]["slot"] == "rest"
    # The table has them all.
    assert {f"model-{n}" for n in range(1, 201)} <= set(found.text.split())


def test_costs_that_are_not_known_are_said_and_nowhere_taken_for_nothing() -> None:
    found = page_over(
        on(2, "1"),
        on(3, None),
        on(3, None, pricing_mode="subscription"),
        on(4, None, pricing_mode="local", input_tokens=None, output_tokens=None),
    )
    assert "1 of 2 calls have no known cost and are not drawn" in found.text
    # Of a mode without any known cost, tokens are drawn; without those nothing.
    assert found.figures["model-subscription"]["unit"] == "tokens"
    assert found.drawn("model-subscription") == {"gpt-4o": 110.0}
    assert (
        "implied API value (beside the fee): unknown for all of them, so their tokens are drawn" in found.text
    )
    assert found.figures["model-local"]["series"] == []
    assert "1 of 1 calls did not report all their tokens" in found.text
    assert "0.00 USD" not in found.text


def test_the_cache_has_a_line_for_each_pricing_mode_with_gaps_where_there_was_no_input() -> None:
    found = page_over(
        on(2, "1", input_tokens=100, cache_read_tokens=50),
        on(2, "1", input_tokens=300, cache_read_tokens=None, request_model="gpt-4o-mini"),
        on(4, "1", input_tokens=100, cache_read_tokens=100),
        on(4, "1", input_tokens=None, cache_read_tokens=7),
        on(3, "1", input_tokens=10, cache_read_tokens=0, pricing_mode="subscription"),
    )
    api, subscription = found.figures["cache-share"]["series"]
    assert api["values"] == [0.125, None, 1.0, None, None, None, None]
    assert subscription["values"] == [None, 0.0, None, None, None, None, None]


def test_bars_of_parts_of_days_are_said_to_be_that() -> None:
    noon = on(3, "1") | {"start_time": dt.datetime(2026, 3, 3, 23)}
    sentence = "The window has only a part of the"
    assert (
        f"{sentence} first and the last day."
        in page_over(on(2, "1"), noon, since="2026-03-02T06:00", until="2026-03-03T23:30").text
    )
    assert f"{sentence} last day." in page_over(on(2, "1"), noon, until="2026-03-03T23:30").text
    assert sentence not in page_over(on(2, "1"), noon, until="2026-03-05").text
    week = page_over(
        on(5, "1"), call(start_time=dt.datetime(2026, 7, 6)), since="2026-03-04", until="2026-07-13"
    )
    assert f"{sentence} first week." in week.text


def test_budgets_have_bars_the_worst_first() -> None:
    """On 11 March at noon: 30 of 20 USD, 15 of 100 USD, 1,100 of 4,400 tokens."""
    calls = calls_table(*(on(day, "3", agent_name="a" if day % 2 else "b") for day in range(1, 11)))
    now = dt.datetime(2026, 3, 11, 12, tzinfo=dt.UTC)
    budgets = (
        Budget("roomy", usd=Decimal(100), each="agent"),
        Budget("tokens", tokens=4400),
        Budget("small", usd=Decimal(20)),
    )
    window = Window(now - dt.timedelta(days=7), now, "UTC")
    facts = {"account_plans": (), "budgets": budgets, "now": now}
    report = registry.get("budget").bind(facts).run(calls, window, {})
    result = {"analyzer": "budget", "window": window.as_dict(), **report.as_dict()}
    bars, further = panels.budget_bars(result, now)
    assert [(bar.name, bar.state) for bar in bars] == [
        ("small", "exceeded"),
        ("tokens", "ok"),
        ("roomy: agent a", "ok"),
        ("roomy: agent b", "ok"),
    ]
    assert further == 0
    small, tokens, roomy, _ = bars
    assert small.used == "spend: 30.00 of 20.00 USD this month"
    assert (small.used_to, small.limit) == (1.0, pytest.approx(1 / 1.5))
    assert small.projected is not None
    assert small.projected.endswith("used up on 2026-03-07")
    assert tokens.used == "1,100 of 4,400 tokens this month"
    assert (tokens.used_to, tokens.limit, tokens.elapsed) == (0.25, 1.0, pytest.approx(10.5 / 31))
    assert roomy.used == "spend: 15.00 of 100.00 USD this month"
    assert "Budgets 1 exceeded, 3 within budget" in Page(page([result], {}, now)).words


def test_an_empty_lake_has_a_page_that_says_so() -> None:
    found = page_over()
    assert "There are no calls in this window." in found.text
    assert found.figures == {}


def test_of_one_day_there_are_bars() -> None:
    found = page_over(on(2, "4", agent_name="a"), on(2, "1", agent_name="b"), until="2026-03-03")
    assert found.figures == {}
    assert "Spend by agent a 4.00 USD b 1.00 USD" in found.words
    assert found.bars() == ["100%", "100%", "25%"]

"""The analyzer `routing`: what it claims is planted beside it, and priced by hand from the list (priced_lakes.py)."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers.finding import Finding, Report
from analyzers.honest import Amount
from analyzers.setting import BadSetting
from analyzers.window import Window
from tests.calls_table import calls_table, lake_with_calls
from tests.pages import assert_example
from tests.priced_lakes import (
    DAY,
    MONTH,
    START,
    Row,
    every_day,
    gpt,
    lake,
    named_rows,
    opus,
    quiet_lakes,
    report_of,
    tool,
    window,
)

# What a call of 1,000 tokens in and 100 out costs less by gpt-4o-mini.
SAVED = Decimal("0.00329")


def settled(connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any) -> Report:
    return report_of("routing", connection, over or window(), **settings)


def findings(connection: duckdb.DuckDBPyConnection, **settings: Any) -> tuple[Finding, ...]:
    return settled(connection, **settings).findings


def mixed(simple: int = 2, large: int = 3, **columns: Any) -> list[Row]:
    """Each day so many simple calls and so many with 9,000 tokens in, in sessions of their own."""
    return [
        *every_day(gpt, simple, **columns),
        *(gpt(day, 20 + at, 9_000, **columns) for day in range(14) for at in range(large)),
    ]


# --- what a router would have cost


def test_simple_calls_of_an_agent_that_has_others_too_are_priced_by_the_next_model():
    """28 of 70 calls, each 0.00329 USD cheaper; all cost 28 times 0.0035 and 42 times 0.0235 USD."""
    (finding,) = findings(lake(mixed()))
    assert finding.dimension == {"agent": "tagger", "provider": "openai", "model": "gpt-4o"}
    assert finding.estimate.low == finding.estimate.high == Amount("api", 28 * SAVED)
    assert finding.estimate.low_per_month.usd == 2 * SAVED * MONTH
    assert finding.evidence["calls"] == 28
    assert (finding.evidence["all_calls"], finding.evidence["share"]) == (70, 0.4)
    assert finding.evidence["cost_of_all_calls"].usd == Decimal("1.085")
    assert finding.evidence["cost_with_router"].usd == Decimal("1.085") - 28 * SAVED
    assert any("nothing here says that gpt-4o-mini answers as well" in caveat for caveat in finding.caveats)


def test_what_turns_out_long_or_asks_for_a_tool_was_routed_all_the_same():
    """A router cannot know: such calls are in what may be saved at most, and not in the least. 800 tokens out cost
    0.008 USD by gpt-4o, 0.00048 by gpt-4o-mini."""
    calls = mixed()
    simple = [row for row in calls if row["input_tokens"] == 1_000]
    for row in simple[:4]:
        row["finish_reasons"] = ["tool_calls"]
    long = every_day(
        gpt, 1, days=2, output_tokens=800, session_id="long", trace_id="long", agent_name="tagger"
    )
    (finding,) = findings(lake([*calls, *long]))
    assert finding.evidence["calls"] == 30
    assert finding.evidence["simple_in_hindsight"] == 24
    assert finding.estimate.high.usd == 28 * SAVED + 2 * (Decimal("0.0105") - Decimal("0.00063"))
    assert finding.estimate.low.usd < 24 * SAVED + Decimal("1e-12")


def test_after_a_tool_was_used_a_call_is_not_simple():
    """Two simple calls a session, a tool between them, known by a span or by the first call's end."""
    large = mixed(0)
    pairs = [gpt(day, at, session_id=f"p{day}", trace_id=f"p{day}") for day in range(14) for at in (0, 2)]
    assert findings(lake([*pairs, *large]))[0].evidence["calls"] == 28
    used = [
        tool(f"p{day}", 1, start_time=START + day * DAY + dt.timedelta(hours=9, minutes=1))
        for day in range(14)
    ]
    assert findings(lake([*pairs, *large], spans=used))[0].evidence["calls"] == 14
    others = [row | {"agent_name": "coder"} for row in used]
    assert findings(lake([*pairs, *large], spans=others))[0].evidence["calls"] == 28
    asked = [row | {"finish_reasons": ["tool_calls"]} if at % 2 == 0 else row for at, row in enumerate(pairs)]
    (row,) = named_rows(settled(lake([*asked, *large])))
    assert (row["calls"], row["sure_calls"]) == (14, 0)


@pytest.mark.parametrize(
    ("simple", "large"), [(1, 12), (12, 1)], ids=["hardly any simple", "nearly all simple"]
)
def test_who_has_one_kind_of_calls_needs_no_router(simple: int, large: int):
    """Where nearly all are simple, a note says where to look instead."""
    report = settled(lake(mixed(simple, large)))
    assert (report.findings, report.rows) == ((), ())
    assert any("nearly all are simple: 1;" in note for note in report.notes) == (simple > large)
    assert len(findings(lake(mixed(simple, large)), least_share="0.05")) == 1


def test_cached_input_is_sent_anew_at_least():
    """4,000 of 4,500 tokens are read from the cache. By Opus 0.0025 + 0.002 + 0.0025 USD; by Sonnet 0.0015 + 0.0012 +
    0.0015 with the cache as it was, 0.0135 + 0.0015 without: that costs more, so nothing is found, and the row says
    what it would cost at best."""
    cached = {
        "input_tokens": 4_500,
        "cache_read_tokens": 4_000,
        "cost_input_usd": Decimal("0.0025"),
        "cost_cache_read_usd": Decimal("0.002"),
        "cost_output_usd": Decimal("0.0025"),
        "cost_usd": Decimal("0.007"),
    }
    simple = [row | cached for row in every_day(opus, 2, output_tokens=100)]
    report = settled(lake([*simple, *(opus(day, 30 + at) for day in range(14) for at in range(3))]))
    assert report.findings == ()
    (row,) = named_rows(report)
    assert row["spend_with_router_usd"] == 14 * (3 * Decimal("0.11") + 2 * Decimal("0.0042"))


def test_pricing_modes_stay_apart_and_an_undeclared_plan_is_said():
    plans = {"api": "api", "subscription": "team", "unknown": "unknown"}
    calls = [
        row | {"pricing_mode": mode, "plan_tier": plan, "session_id": f"{mode}-{row['session_id']}"}
        for mode, plan in plans.items()
        for row in mixed()
    ]
    report = settled(lake(calls))
    assert sorted((one.estimate.basis, one.estimate.high.usd) for one in report.findings) == [
        ("implied API value", 28 * SAVED),
        ("list price, plan not declared", 28 * SAVED),
        ("spend", 28 * SAVED),
    ]
    assert sum("Declare the plan" in note for note in report.notes) == 1


def test_unknown_costs_and_models_are_counted_and_said():
    strangers = every_day(gpt, request_model="house-model-7", provider="house")
    unpriced = every_day(gpt, 1, cost_usd=None)
    report = settled(lake([*strangers, *unpriced]))
    assert report.findings == ()
    assert report.notes == (
        "70 calls are left out, for nobody says what family their model is of: house-model-7",
        "14 calls are left out, of which cost or usage is not known",
    )


def test_the_order_of_rows_changes_nothing():
    rows = [*mixed(), *mixed(agent_name=None, service_name="shop")]
    ordered = settled(lake(rows))
    random.Random(7).shuffle(rows)
    assert settled(lake(rows)) == ordered
    assert len(ordered.findings) == 2


# --- what the callers' own router saved


def routed_lake(*rows: Row) -> duckdb.DuckDBPyConnection:
    """With the configured dimension `mode`."""
    return calls_table(*rows, dimensions=("mode",))


def chosen(**columns: Any) -> list[Row]:
    """Each day three calls to gpt-4o-mini for `easy`, one to gpt-4o for `hard`."""
    cheap = {
        "request_model": "gpt-4o-mini",
        "mode": "easy",
        "cost_input_usd": Decimal("0.00015"),
        "cost_output_usd": Decimal("0.00006"),
        "cost_usd": Decimal("0.00021"),
    }
    easy = [row | cheap | columns for row in every_day(gpt, 3)]
    return [*easy, *(gpt(day, 40, mode="hard", **columns) for day in range(14))]


def test_what_an_own_router_saved_is_a_fact():
    """42 times 0.00021 and 14 times 0.0035 USD; all by gpt-4o 56 times 0.0035, by gpt-4o-mini 56 times 0.00021."""
    with routed_lake(*chosen()) as connection:
        (finding,) = (one for one in findings(connection, complexity="mode") if one.kind == "own-router")
    assert finding.title == "agent tagger: the choice by mode cost 70.5% less than all of it by gpt-4o"
    assert (finding.p_value, finding.estimate) == (None, None)
    assert finding.dimension == {"agent": "tagger", "complexity": "mode"}
    assert finding.evidence["cost"].usd == Decimal("0.05782")
    assert finding.evidence["saved_against_dearest"].usd == Decimal("0.196") - Decimal("0.05782")
    assert {model: amount.usd for model, amount in finding.evidence["all_by_one_model"].items()} == {
        "gpt-4o": Decimal("0.196"),
        "gpt-4o-mini": Decimal("0.01176"),
    }
    assert finding.evidence["most_used_model"] == "gpt-4o-mini"
    assert finding.evidence["by_mode"]["easy"]["calls"] == 42
    assert finding.evidence["by_mode"]["hard"]["models"] == "gpt-4o"
    assert any("nothing here says that the cheaper models answered as well" in one for one in finding.caveats)


def test_an_attribute_that_is_no_dimension_can_be_named_too():
    """It stands on the span alone."""
    calls = [row | {"trace_id": f"t{at}", "span_id": f"s{at}"} for at, row in enumerate(chosen())]
    spans = [
        {
            **{"tenant": "", "trace_id": row["trace_id"], "span_id": row["span_id"], "name": "chat"},
            **{"kind": "CLIENT", "start_time": row["start_time"], "start_unix_nano": 0, "end_unix_nano": 1},
            **{"status_code": "UNSET", "source": "otlp", "received_at": START, "load_id": "1"},
            "attributes": '{"app.mode": "' + row["mode"] + '"}',
        }
        for row in calls
    ]
    bare = [{name: value for name, value in row.items() if name != "mode"} for row in calls]
    (finding,) = (one for one in findings(lake(bare, spans=spans), complexity="app.mode"))
    assert finding.dimension["complexity"] == "app.mode"
    assert finding.evidence["by_mode"]["easy"]["calls"] == 42


def test_an_own_router_is_judged_within_each_pricing_mode():
    plans = {"api": "api", "unknown": "unknown"}
    calls = [
        row | {"pricing_mode": mode, "plan_tier": plan} for mode, plan in plans.items() for row in chosen()
    ]
    with routed_lake(*(row | {"call_id": f"own-{at}"} for at, row in enumerate(calls))) as connection:
        report = settled(connection, complexity="mode")
    own = [one for one in report.findings if one.kind == "own-router"]
    assert {one.evidence["cost"] for one in own} == {Amount(mode, Decimal("0.05782")) for mode in plans}
    assert sum("Declare the plan" in note for note in report.notes) == 1


@pytest.mark.parametrize("columns", [{"mode": "easy"}, {"mode": None}, {"request_model": "gpt-4o"}], ids=str)
def test_without_a_choice_nothing_is_said_of_a_router(columns: dict[str, Any]):
    with routed_lake(*(row | columns for row in chosen())) as connection:
        report = settled(connection, complexity="mode")
    assert [one for one in report.findings if one.kind == "own-router"] == []
    assert "no agent chooses between several models by mode" in report.notes


def test_what_can_be_no_attribute_is_refused():
    with pytest.raises(BadSetting, match="no key"):
        settled(lake(mixed()), complexity='a"b')


def test_the_page_shows_what_is_printed(tmp_path: Path):
    """Two weeks of a support agent with two simple calls and three large ones a day."""
    calls = (row | {"call_id": f"call-{at:03}"} for at, row in enumerate(mixed(agent_name="support")))
    assert_example("routing", lake_with_calls(tmp_path / "data", *calls))


# --- chance


@pytest.mark.parametrize("lakes", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_of_lakes_with_nothing_planted_fewer_than_one_in_twenty_raises_an_alarm(lakes: int):
    alarms = sum(bool(settled(connection, window(28)).findings) for connection in quiet_lakes(lakes))
    assert alarms < lakes / 20


@pytest.mark.parametrize("parts", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_the_interval_holds_the_planted_mean_in_nine_of_ten_lakes(parts: int):
    """Agents in the place of lakes, 60 in each part, each with days of its own and one large call a day beside. A
    simple call saves 0.00329 USD."""
    pick = random.Random(20260304)
    held = total = 0
    for part in range(parts):
        rates = {f"{part}-{number}": pick.uniform(2, 5) for number in range(60)}
        connection = lake(row for agent, rate in rates.items() for row in planted(pick, agent, rate))
        for finding in settled(connection, window(28)).findings:
            mean = Decimal(rates[str(finding.dimension["agent"])]) * SAVED * MONTH
            held += finding.estimate.low_per_month.usd <= mean <= finding.estimate.high_per_month.usd
            total += 1
    assert total >= 57 * parts
    assert held / total >= 0.9


def planted(pick: random.Random, agent: str, rate: float) -> Iterator[Row]:
    """`rate` simple calls a day in the mean over weekdays, weekends and busy days."""
    for day in range(28):
        weekend = (START + day * DAY).weekday() >= 5
        expected = rate * (0.5 if weekend else 1.2) * pick.choice([0.8, 0.8, 0.8, 1.6])
        yield gpt(day, 50, 9_000, agent_name=agent, session_id=f"{agent}-{day}")
        for at in range(sum(pick.random() < expected / 40 for _ in range(40))):
            yield gpt(day, at, agent_name=agent, session_id=f"{agent}-{day}-{at}")

"""The analyzer `downsize`: what it claims is planted beside it, and priced by hand from the list (priced_lakes.py)."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers import registry
from analyzers.finding import Finding, Report
from analyzers.honest import Amount
from analyzers.window import Window
from collector.store.lake import Lake
from semconv.prices import read_file
from semconv.settings import PriceOverride
from tests.captured_lake import captured_lake
from tests.price_support import price_file
from tests.priced_lakes import (
    DAY,
    MONTH,
    START,
    Row,
    every_day,
    gpt,
    insert,
    lake,
    log,
    opus,
    quiet_lakes,
    report_of,
    tool,
    window,
)


def downsize(connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any) -> Report:
    facts = {"price_overrides": settings.pop("price_overrides", ())}
    return registry.get("downsize").bind(facts).run(connection, over or window(), settings)


def settled(connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any) -> Report:
    return report_of("downsize", connection, over or window(), **settings)


def findings(connection: duckdb.DuckDBPyConnection, **settings: Any) -> tuple[Finding, ...]:
    return settled(connection, **settings).findings


# --- small calls


def test_small_calls_are_priced_by_the_next_model_of_the_family():
    """70 calls of 0.0035 USD that would have cost 0.00021: 0.2303 in 14 days, the same every day."""
    connection = lake(every_day(gpt))
    (finding,) = findings(connection)
    assert finding.dimension == {"agent": "tagger", "provider": "openai", "model": "gpt-4o"}
    assert finding.estimate.low == finding.estimate.high == Amount("api", Decimal("0.2303"))
    assert finding.estimate.low_per_month.usd == Decimal("0.2303") * MONTH / 14
    assert finding.estimate.basis == "spend"
    assert finding.estimate.tokens_high_per_month is None
    assert (finding.evidence["calls"], finding.evidence["cheaper_model"]) == (70, "gpt-4o-mini")
    assert finding.evidence["cost"].usd == Decimal("0.245")
    assert finding.evidence["cost_by_cheaper_model"].usd == Decimal("0.0147")
    assert any("nothing here says that gpt-4o-mini answers as well" in caveat for caveat in finding.caveats)
    assert "gpt-4o-mini" in finding.action


def test_the_least_that_is_saved_is_that_of_runs_in_which_every_call_is_small():
    """Of five calls a day two stand in a session with a large one: 5 times 0.00329 a day at most, 3 times at least."""
    shared = [
        *every_day(gpt, 3),
        *(gpt(day, at, session_id=f"mixed-{day}") for day in range(14) for at in (10, 11)),
        *(gpt(day, 12, input_tokens=9_000, session_id=f"mixed-{day}") for day in range(14)),
    ]
    (finding,) = findings(lake(shared))
    assert finding.estimate.high.usd == 14 * 5 * Decimal("0.00329")
    assert finding.estimate.low.usd == 14 * 3 * Decimal("0.00329")
    assert finding.evidence["sure_calls"] == 42


@pytest.mark.parametrize(
    "columns",
    [{"input_tokens": 5_000}, {"output_tokens": 500}, {"input_tokens": None}, {"output_tokens": None}],
    ids=str,
)
def test_calls_at_the_thresholds_or_of_unknown_size_are_not_small(columns):
    assert findings(lake(every_day(lambda day, at: gpt(day, at) | columns))) == ()


def test_an_agent_of_which_fewer_than_half_of_the_calls_are_small_is_passed_over():
    large = every_day(gpt, 6, input_tokens=9_000)
    calls = [row | {"session_id": f"large-{at}"} for at, row in enumerate(large)]
    connection = lake([*every_day(gpt), *calls])
    assert findings(connection) == ()
    assert len(findings(connection, least_share="0.4")) == 1


def test_nine_calls_are_too_few_and_the_number_is_a_setting():
    connection = lake(every_day(gpt, 1, days=9))
    assert findings(connection) == ()
    assert len(findings(connection, least_calls=9)) == 1


def in_sessions_of(
    tools: Iterable[Row], logs: Iterable[Row] = (), **columns: Any
) -> duckdb.DuckDBPyConnection:
    """Two calls of the tagger in each of ten sessions, `tools` among the spans and `logs` among the log records."""
    calls = [
        gpt(day, at, session_id=f"s{day}", trace_id=f"t{day}", **columns)
        for day in range(10)
        for at in range(2)
    ]
    return lake(calls, spans=tools, log_records=logs)


def tools(count: int, **columns: Any) -> list[Row]:
    return [tool(f"t{day}", number, **columns) for day in range(10) for number in range(count)]


def test_a_run_with_more_than_five_tool_calls_is_not_simple():
    assert len(findings(in_sessions_of(tools(5)))) == 1
    assert findings(in_sessions_of(tools(6))) == ()
    assert len(findings(in_sessions_of(tools(6)), max_tool_calls=6)) == 1


def test_tool_calls_of_another_agent_do_not_count_those_of_nobody_do():
    assert len(findings(in_sessions_of(tools(9, agent_name="coder")))) == 1
    assert findings(in_sessions_of(tools(9, agent_name="tagger"))) == ()
    others = [row | {"span_id": f"{row['span_id']}-coder"} for row in tools(9, agent_name="coder")]
    assert len(findings(in_sessions_of([*tools(5), *others]))) == 1


def test_tool_calls_that_logs_tell_of_count_and_the_same_ones_not_twice():
    """Six by logs alone are too many; five by spans and the same five by logs are five."""
    six = [log(f"s{day}", number) for day in range(10) for number in range(6)]
    assert findings(in_sessions_of([], six)) == ()
    five = [row for row in six if not row["record_hash"].endswith("-5")]
    assert len(findings(in_sessions_of(tools(5), five))) == 1


def test_calls_that_end_in_asking_for_a_tool_are_tool_calls_where_nothing_else_tells():
    connection = in_sessions_of([], finish_reasons=["tool_calls"])
    assert len(findings(connection, max_tool_calls=2)) == 1
    assert findings(connection, max_tool_calls=1) == ()


# --- long contexts


def test_a_context_that_a_dear_model_reads_again_is_claimed_whole_or_for_brief_answers():
    """Four steps a day, one with a brief answer: 3 times 0.044 and once 0.039 USD at most, 0.039 at least."""
    calls = [opus(day, at, 100 if at == 0 else 600) for day in range(14) for at in range(4)]
    (finding,) = findings(lake(calls))
    assert finding.dimension["agent"] == "coder"
    assert finding.evidence["cheaper_model"] == "claude-sonnet-4-5"
    assert finding.estimate.high.usd == 14 * (3 * Decimal("0.044") + Decimal("0.039"))
    assert finding.estimate.low.usd == 14 * Decimal("0.039")
    assert (finding.evidence["sure_calls"], finding.evidence["most_input_tokens"]) == (14, 100_000)
    assert any("models share no cache" in caveat for caveat in finding.caveats)


def test_a_context_that_is_sent_once_in_a_session_is_not_read_again():
    assert findings(lake(every_day(opus, 1))) == ()


def test_where_the_answers_make_the_cost_the_context_does_not():
    """20,000 tokens out cost 0.5 USD of 0.595."""
    assert findings(lake(every_day(opus, output_tokens=20_000))) == ()


# --- what is left out, and said


def test_of_models_without_a_known_family_nothing_is_claimed_and_that_is_said():
    stranger = every_day(gpt, request_model="house-model-7", provider="house")
    smallest = every_day(gpt, agent_name="other", request_model="gpt-4o-mini")
    report = settled(lake([*stranger, *smallest]))
    assert report.findings == ()
    assert report.notes == (
        "70 calls are left out, for nobody says what family their model is of: house-model-7",
    )


def test_unknown_cost_and_usage_are_counted_and_failed_calls_are_neither():
    unpriced = every_day(gpt, 1, cost_usd=None, agent_name="other")
    failed = every_day(gpt, 1, status_code="ERROR", agent_name="other")
    report = settled(lake([*every_day(gpt), *unpriced, *failed]))
    assert report.notes == ("14 calls are left out, of which cost or usage is not known",)
    assert report.findings[0].evidence["calls"] == 70


def test_a_failed_call_does_not_make_a_run_less_sure():
    failed = every_day(gpt, status_code="ERROR", input_tokens=0, output_tokens=0)
    (finding,) = findings(lake([*every_day(gpt), *(row | {"cost_usd": None} for row in failed)]))
    assert finding.evidence["sure_calls"] == 70


def test_what_the_configuration_says_of_the_cheaper_models_price_holds():
    """gpt-4o-mini at twenty times its list price is dearer: nothing is claimed. At no price, all is."""
    connection = lake(every_day(gpt))
    dear = PriceOverride(
        "dear", "openai", "gpt-4o-mini", prices={"input_mtok": Decimal(3), "output_mtok": Decimal(12)}
    )
    assert findings(connection, price_overrides=(dear,)) == ()
    (finding,) = findings(
        connection, price_overrides=(PriceOverride("free", "openai", "gpt-4o-mini", free=True),)
    )
    assert finding.estimate.high.usd == Decimal("0.245")


def test_the_cheaper_model_is_one_of_the_lakes_own_price_list(tmp_path: Path):
    """A list that knows gpt-4o and no smaller one: nothing is claimed, and the report says why."""
    connection = lake(every_day(gpt))
    prices = read_file(price_file(tmp_path, model="gpt-4o", input_mtok="2.5", output_mtok="10"))
    activation = {"snapshot_id": prices.snapshot_id, "activated_at": START, "source": prices.source}
    insert(
        "price_snapshots",
        [activation | {"source_version": prices.source_version, "document": prices.to_json()}],
    )
    report = settled(connection)
    assert report.findings == ()
    assert report.notes[0] == (
        "70 calls are left out, for the cheaper model has no price at their provider: gpt-4o"
    )


def test_pricing_modes_stay_apart_and_an_undeclared_plan_is_said():
    plans = {"api": "api", "subscription": "team", "unknown": "unknown"}
    calls = [
        row | {"pricing_mode": mode, "plan_tier": plan, "session_id": f"{mode}-{row['session_id']}"}
        for mode, plan in plans.items()
        for row in every_day(gpt)
    ]
    report = settled(lake(calls))
    assert sorted((one.estimate.basis, one.estimate.high.usd) for one in report.findings) == [
        ("implied API value", Decimal("0.2303")),
        ("list price, plan not declared", Decimal("0.2303")),
        ("spend", Decimal("0.2303")),
    ]
    assert len({one.finding_id for one in report.findings}) == 3
    assert any("Declare the plan" in note for note in report.notes)


def test_agents_that_are_not_known_go_by_their_service_and_gateways_by_their_own_ids():
    """Bedrock's Opus becomes Bedrock's Sonnet of the same region: 1.1 times the price, saving 1.1 times as much."""
    columns = {
        **{"agent_name": None, "service_name": "shop", "provider": "aws.bedrock"},
        "request_model": "eu.anthropic.claude-opus-4-5-20251101-v1:0",
        **{f"cost{part}_usd": None for part in ("_input", "_cache_read", "_output", "")},
    }
    costs = {
        "cost_input_usd": Decimal("0.055"),
        "cost_cache_read_usd": Decimal("0.0495"),
        "cost_usd": Decimal("0.121"),
    }
    (finding,) = findings(lake(row | costs for row in every_day(opus, **columns)))
    assert (finding.dimension["service"], finding.dimension.get("agent")) == ("shop", None)
    assert finding.evidence["cheaper_model"] == "regional.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert finding.estimate.high.usd == 70 * Decimal("0.0484")
    assert finding.title.startswith("calls of shop without an agent")


def test_in_a_batch_both_models_cost_half():
    """In November 2026, as the list has prices of batches since October."""
    half = {name: opus(0, 0)[name] / 2 for name in ("cost_usd", "cost_input_usd", "cost_cache_read_usd")}
    later = 250 * DAY
    rows = (row | half | {"start_time": row["start_time"] + later} for row in every_day(opus, batch=True))
    over = Window(window().start + later, window().end + later)
    (finding,) = settled(lake(rows), over).findings
    assert finding.estimate.high.usd == 70 * Decimal("0.022")


def test_what_is_in_doubt_is_read_alike_for_both_models():
    """Nobody knows what of the input was cached. With everything read from the cache gpt-4o costs 0.00225 USD and
    gpt-4o-mini 0.000135."""
    doubtful = every_day(gpt, cost_low_usd=Decimal("0.00225"), cost_high_usd=Decimal("0.0035"))
    (finding,) = findings(lake(doubtful))
    assert finding.estimate.high.usd == Decimal("0.2303")
    assert finding.estimate.low.usd == 70 * Decimal("0.002115")


# --- whatever the lake


@pytest.mark.parametrize("rows", [[], [gpt(0, 0)]], ids=["no call", "one call"])
def test_nothing_and_a_single_call(rows):
    report = settled(lake(rows))
    assert (report.rows, report.findings) == ((), ())
    assert [note.startswith("no calls") for note in report.notes] == [True] * (not rows)


def test_no_tokens_and_no_cost_anywhere():
    unknown = {"input_tokens": None, "output_tokens": None, "cost_usd": None}
    report = settled(lake(row | unknown for row in every_day(gpt)))
    assert report.findings == ()
    assert report.notes == ("70 calls are left out, of which cost or usage is not known",)


def test_the_order_of_rows_changes_nothing():
    rows = [*every_day(gpt), *every_day(opus), *every_day(gpt, agent_name=None, service_name="shop")]
    ordered = settled(lake(rows))
    random.Random(7).shuffle(rows)
    assert settled(lake(rows)) == ordered
    assert len(ordered.findings) == 3


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/New_York"])
def test_days_of_23_hours_are_days(timezone):
    """On 8 March New York, on 29 March Berlin puts the clock forward: 30 days with the same saving each."""
    (finding,) = settled(lake(every_day(gpt, days=30)), window(30, timezone)).findings
    assert finding.estimate.high.usd == 30 * 5 * Decimal("0.00329")
    assert finding.p_value < 0.01


def test_the_captured_applications():
    """What real libraries sent, through the whole path; it is a few calls of each."""
    with Lake.open(captured_lake(), read_only=True, threads=1) as store:
        ends = store.connection.execute("SELECT min(start_time), max(start_time) FROM calls").fetchone()
        over = Window(*(moment.replace(tzinfo=dt.UTC) for moment in ends))
        report = downsize(store.connection, over, least_calls=1)
        assert {"gemini-2.5-flash", "gpt-4.1-mini"} <= {row[4] for row in report.rows}
        assert downsize(store.connection, over, least_calls=1000).candidates == ()


# --- chance


@pytest.mark.parametrize("lakes", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_of_lakes_with_nothing_planted_fewer_than_one_in_twenty_raises_an_alarm(lakes: int):
    alarms = sum(bool(settled(connection, window(28)).findings) for connection in quiet_lakes(lakes))
    assert alarms < lakes / 20


@pytest.mark.parametrize(
    ("lakes", "agents"),
    [(1, 60), pytest.param(200, 1, marks=[pytest.mark.soak, pytest.mark.timeout(600)])],
    ids=["agents", "lakes"],
)
def test_the_interval_holds_the_planted_mean_in_nine_of_ten_lakes(lakes, agents):
    """Agents of one lake, or 200 each in its own, with days of their own: quiet weekends, and days that are twice as
    busy. Each call saves 0.00329 USD."""
    pick = random.Random(20260302)
    held = total = 0
    for part in range(lakes):
        rates = {f"{part}-{number}": pick.uniform(2, 5) for number in range(agents)}
        connection = lake(row for agent, rate in rates.items() for row in planted(pick, agent, rate))
        for finding in settled(connection, window(28)).findings:
            mean = Decimal(rates[str(finding.dimension["agent"])]) * Decimal("0.00329") * MONTH
            held += finding.estimate.low_per_month.usd <= mean <= finding.estimate.high_per_month.usd
            total += 1
    assert total >= 0.95 * lakes * agents
    assert held / total >= 0.9


def planted(pick: random.Random, agent: str, rate: float) -> Iterator[Row]:
    """`rate` calls a day in the mean over weekdays, weekends and busy days."""
    for day in range(28):
        weekend = (START + day * DAY).weekday() >= 5
        expected = rate * (0.5 if weekend else 1.2) * pick.choice([0.8, 0.8, 0.8, 1.6])
        for at in range(sum(pick.random() < expected / 40 for _ in range(40))):
            yield gpt(day, at, agent_name=agent, session_id=f"{agent}-{day}-{at}")

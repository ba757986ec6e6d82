"""Budgets against calls: who used what, what is said of it, and how often what is projected comes true."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from analyzers import frame, registry
from analyzers.budget_findings import findings
from analyzers.budget_standing import standings
from analyzers.budget_terms import Budget
from analyzers.finding import Finding, Report
from analyzers.window import Window
from collector.store.lake import Lake
from semconv.planned import relation
from semconv.settings import AccountPlan
from tests.calls_table import DEFAULTS, call, calls_table
from tests.captured_lake import captured_lake

NOW = dt.datetime(2026, 3, 25, 12, tzinfo=dt.UTC)


def asked(
    calls: duckdb.DuckDBPyConnection,
    *budgets: Budget,
    now: dt.datetime = NOW,
    timezone: str = "UTC",
    plans: Sequence[AccountPlan] = (),
    settle: bool = True,
    **settings: Any,
) -> Report:
    analyzer = registry.get("budget").bind({"account_plans": plans, "budgets": budgets, "now": now})
    window = Window(now - dt.timedelta(days=7), now, timezone)
    report = analyzer.run(calls, window, settings)
    return frame.settle(calls, window, now, {"budget": report})["budget"] if settle else report


def rows(report: Report) -> list[dict[str, Any]]:
    return [dict(zip((column.name for column in report.columns), row, strict=True)) for row in report.rows]


def kinds(report: Report) -> list[tuple[str, str]]:
    """What is said of which budget."""
    return [(one.kind, str(one.dimension["budget"])) for one in report.findings]


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def spent(usd: str, when: str, **columns: Any) -> dict[str, Any]:
    return call(cost_usd=Decimal(usd), start_time=at(when), **columns)


def test_what_is_planted_is_found_with_its_amounts_and_calls() -> None:
    """March: 7 USD of the planner, 2 of the coder; the calls of February and of after now count for nothing."""
    calls = calls_table(
        spent("100", "2026-02-28T23:59:59.999999", agent_name="planner"),
        spent(
            "3", "2026-03-01T00:00", agent_name="planner", call_id="three", response_model="gpt-4o-2024-08-06"
        ),
        spent("4", "2026-03-25T11:59", agent_name="planner", call_id="four"),
        spent("2", "2026-03-20T08:00", agent_name="coder", call_id="two"),
        spent("100", "2026-03-25T12:00", agent_name="planner"),
    )
    report = asked(
        calls,
        Budget("all", usd=Decimal(10), action="fail"),
        Budget("each", usd=Decimal(7), each="agent", action="skip"),
        Budget("model", tokens=1000, scope={"model": "gpt-4o"}),
    )
    every, planner, coder, model = rows(report)
    assert (every["spend_usd"], every["budget_left_usd"], every["state"], every["calls"]) == (9, 1, "warn", 3)
    assert (planner["of"], planner["spend_usd"], planner["state"]) == ("agent planner", 7, "exceeded")
    assert (coder["of"], coder["spend_usd"], coder["state"]) == ("agent coder", 2, "ok")
    assert (model["tokens"], model["tokens_left"], model["spend_usd"]) == (330, 670, None)
    assert (planner["used_up_on"], planner["models"], every["agents"]) == (
        dt.date(2026, 3, 25),
        "gpt-4o 100%",
        "planner 78%, coder 22%",
    )
    assert kinds(report) == [("warning", "all"), ("exceeded", "each")]
    warning, exceeded = report.findings
    assert exceeded.dimension == {"budget": "each", "period_start": "2026-03-01", "agent": "planner"}
    assert exceeded.examples == ("four", "three")
    assert exceeded.p_value is None
    assert exceeded.evidence["action"] == "skip"
    assert warning.examples == ("four", "three", "two")
    assert (
        "budget all is used to 90% in the month from 2026-03-01: spend of 9.00 USD, 10.00 USD"
        in warning.title
    )


def test_findings_keep_their_id_within_a_period_and_get_another_in_the_next() -> None:
    calls = calls_table(*(spent("9", f"2026-03-{day}T01:00") for day in (24, 25)))
    budget = Budget("daily", usd=Decimal(9), period="day")
    ids = [
        [one.finding_id for one in asked(calls, budget, now=now).findings]
        for now in (NOW, NOW + dt.timedelta(hours=3), NOW - dt.timedelta(days=1))
    ]
    assert ids[0] == ids[1] != ids[2]
    assert [len(one) for one in ids] == [1, 1, 1]


def test_a_budget_in_dollars_counts_spend_alone_and_says_what_it_leaves_out() -> None:
    """Of other pricing modes nothing is added; a budget in tokens counts them all."""
    modes = {"api": "1", "subscription": "50", "local": "60", "unknown": "70"}
    calls = calls_table(
        *(spent(usd, "2026-03-20T08:00", pricing_mode=mode) for mode, usd in modes.items()),
        call(start_time=at("2026-03-20T08:00"), cost_usd=None, output_tokens=None),
        call(start_time=at("2026-03-20T08:00"), status_code="ERROR", input_tokens=None, output_tokens=None),
    )
    report = asked(calls, Budget("usd", usd=Decimal(2)), Budget("tokens", tokens=560))
    money, tokens = rows(report)
    assert (money["spend_usd"], money["calls_unknown"]) == (1, 1)
    assert (tokens["tokens"], tokens["calls_unknown"], tokens["state"]) == (540, 1, "warn")
    notes = "\n".join(report.notes)
    assert (
        "usd: counts spend alone: 1 calls on a subscription, 1 calls of local models, 1 calls without a"
        in notes
    )
    assert "usd: 1 calls have no known cost" in notes
    assert "tokens: 1 calls did not report all their tokens" in notes
    assert "default_plan_tier" in notes or "plan_tier: api" in notes
    (finding,) = report.findings
    assert finding.caveats == ("1 calls did not report all their tokens: what is used is more",)


def test_unknown_tokens_everywhere_are_said_and_never_nothing() -> None:
    calls = calls_table(
        *(call(start_time=at("2026-03-20T08:00"), input_tokens=None, output_tokens=None) for _ in range(3))
    )
    report = asked(calls, Budget("usd", usd=Decimal(2)), Budget("tokens", tokens=560))
    assert [row["calls_unknown"] for row in rows(report)] == [3, 3]
    projected = ("projected_spend_expected_usd", "projected_tokens_expected", "used_up_on")
    assert {row[name] for row in rows(report) for name in projected} == {None}
    assert len([note for note in report.notes if "3 calls" in note]) == 2


def test_an_empty_lake_and_one_call() -> None:
    """Every budget has its row; nothing is projected."""
    budgets = [Budget("usd", usd=Decimal(2)), Budget("each", tokens=5, each="user")]
    report = asked(calls_table(), *budgets)
    assert [(row["budget"], row["spend_usd"], row["state"]) for row in rows(report)] == [("usd", 0, "ok")]
    assert report.findings == ()
    report = asked(calls_table(spent("1", "2026-03-24T08:00")), *budgets)
    assert [(row["budget"], row["spend_usd"], row["projected_spend_high_usd"]) for row in rows(report)] == [
        ("usd", 1, None)
    ]
    assert "each: 1 calls have no value and are in no budget" in report.notes
    assert any("nothing is projected" in note for note in report.notes)
    midnight = at("2026-03-25T00:00Z")
    assert rows(asked(calls_table(), Budget("day", tokens=1, period="day"), now=midnight))[0]["tokens"] == 0
    assert asked(calls_table()).notes[0].startswith("no budgets are configured")


def test_of_many_values_those_that_used_most_are_shown_and_the_others_counted() -> None:
    calls = calls_table(
        *(spent(str(number), "2026-03-20T08:00", user_id=f"u{number:02}") for number in range(1, 31))
    )
    report = asked(calls, Budget("each", usd=Decimal(29), each="user"), top=2)
    assert [row["of"] for row in rows(report)] == ["user u30", "user u29"]
    assert "each: 28 further values are not shown; they used less" in report.notes
    assert kinds(report).count(("exceeded", "each")) == 2
    # Findings are of all values, whatever is shown.
    assert kinds(report).count(("warning", "each")) == 5


def test_a_dimension_that_the_lake_lacks_is_said() -> None:
    calls = calls_table(spent("1", "2026-03-20T08:00", job="x"), dimensions=("job",))
    budgets = [Budget("job", usd=Decimal(1), scope={"job": "x"}), Budget("team", usd=Decimal(1), each="team")]
    report = asked(calls, *budgets)
    assert [row["spend_usd"] for row in rows(report)] == [1]
    assert any(note.startswith("team cannot be counted") for note in report.notes)


def test_a_cycle_is_the_accounts_own() -> None:
    """One account's cycle began on the 20th, another has no plan and follows the calendar."""
    calls = calls_table(
        *(spent("1", f"2026-03-{day}T08:00", billing_account=name) for day in (10, 21) for name in ("a", "b"))
    )
    plans = [AccountPlan("a", "api", cycle_start_day=20)]
    report = asked(calls, Budget("c", usd=Decimal(9), each="billing_account", period="cycle"), plans=plans)
    found = {row["of"]: (row["spend_usd"], row["first_day"]) for row in rows(report)}
    assert found == {
        "billing_account a": (1, dt.date(2026, 3, 20)),
        "billing_account b": (2, dt.date(2026, 3, 1)),
    }


@pytest.mark.parametrize(
    ("timezone", "expected"),
    # Clocks go forward on 8 March in New York, on the 29th in Berlin; a call each hour of UTC.
    [("America/New_York", 23), ("Europe/Berlin", 24), ("UTC", 24), ("Asia/Kolkata", 24)],
)
def test_days_are_local_ones_across_a_change_of_clocks(timezone: str, expected: int) -> None:
    first = at("2026-03-06T00:00")
    calls = calls_table(*(spent("1", str(first + dt.timedelta(hours=hour))) for hour in range(96)))
    now = dt.datetime(2026, 3, 9, 3, 59, 59, tzinfo=dt.UTC)
    (row,) = rows(asked(calls, Budget("d", usd=Decimal(99), period="day"), now=now, timezone=timezone))
    day = Window(now - dt.timedelta(days=1), now, timezone).local(now).replace(hour=0, minute=0, second=0)
    start = Window(now - dt.timedelta(days=9), now, timezone).at(day, day + dt.timedelta(days=1)).start
    hours = sum(start <= (first + dt.timedelta(hours=h)).replace(tzinfo=dt.UTC) < now for h in range(96))
    assert row["spend_usd"] == hours
    assert row["spend_per_day_usd"] is None or row["spend_per_day_usd"] <= 24
    if timezone == "America/New_York":
        # Its last moment but one: the day of 23 hours is nearly over.
        assert hours == expected


def test_the_order_of_rows_changes_nothing() -> None:
    chance = random.Random(3)
    planted = [
        spent(f"{chance.uniform(0.001, 9):.9f}", f"2026-03-{day:02}T{hour:02}:00", agent_name=f"a{day % 3}")
        for day in range(1, 25)
        for hour in (1, 13)
    ]
    budgets = [Budget("all", usd=Decimal(250)), Budget("each", usd=Decimal(5), each="agent", period="week")]
    answers = []
    for _ in range(3):
        chance.shuffle(planted)
        answers.append(asked(calls_table(*planted), *budgets).as_dict())
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["findings"]


def test_on_real_telemetry_it_adds_up_to_what_the_calls_say() -> None:
    """Of real libraries, in the month of the last call: the whole, and each model's part."""
    with Lake.open(captured_lake(), read_only=True, threads=1) as lake:
        now, tokens, calls = lake.connection.execute(
            "SELECT max(start_time) + INTERVAL 1 SECOND, sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)),"
            " count(*) FROM calls WHERE start_time >= date_trunc('month', (SELECT max(start_time) FROM calls))"
        ).fetchall()[0]
        every, *models = rows(
            asked(
                lake.connection,
                Budget("all", tokens=10**9),
                Budget("models", tokens=10**9, each="model"),
                now=now.replace(tzinfo=dt.UTC),
                top=0,
            )
        )
    assert (every["tokens"], every["calls"]) == (tokens, calls)
    assert calls > 10
    assert sum(model["tokens"] for model in models) <= tokens
    assert len(models) > 1


# --- 200 lakes: whether what is projected comes true. Each is a service of its own in one table: a value of a budget.

LAKES = 200


@pytest.fixture(scope="module")
def calls() -> Iterator[duckdb.DuckDBPyConnection]:
    chance = random.Random(20_260_301)
    with calls_table() as connection:
        fill(connection, {f"lake-{number}": months(chance) for number in range(LAKES)})
        yield connection


def months(chance: random.Random) -> list[tuple[dt.datetime, float]]:
    """Calls of February and March, fewer at weekends and at night, heavy-tailed: all of March are 1 USD."""
    weekend, spread = chance.choice([0.2, 1.0]), chance.choice([0.5, 1.0])
    found = []
    for number in range(59):
        day = at("2026-02-01") + dt.timedelta(days=number)
        level = (weekend if day.weekday() >= 5 else 1.0) * math.exp(chance.gauss(0, 0.25))
        for _ in range(12):
            hour = dt.timedelta(hours=min(23.9, max(0, chance.gauss(13, 4))))
            found.append((day + hour, level * chance.lognormvariate(0, spread)))
    march = sum(cost for when, cost in found if when >= at("2026-03-01"))
    return [(when, cost / march) for when, cost in found]


def fill(
    connection: duckdb.DuckDBPyConnection, lakes: Mapping[str, Sequence[tuple[dt.datetime, float]]]
) -> None:
    constant = {column: value for column, value in DEFAULTS.items() if column != "start_time"}
    made = [(name, when, cost) for name, calls in lakes.items() for when, cost in calls]
    table = pa.table(
        {
            "call_id": [str(number) for number in range(len(made))],
            "service_name": [name for name, _, _ in made],
            "start_time": [when for _, when, _ in made],
            "cost": [cost for _, _, cost in made],
        }
    )
    with relation(connection, "made", table):
        connection.execute(
            "INSERT INTO calls BY NAME SELECT made.* EXCLUDE (cost), cost::DECIMAL(38, 12) AS cost_usd,"
            f" {', '.join(f'? AS {column}' for column in constant)} FROM made",
            list(constant.values()),
        )


@pytest.mark.parametrize("day", ["2026-03-05T09:00Z", "2026-03-14T12:00Z", "2026-03-29T20:00Z"])
def test_what_is_projected_comes_true_and_quiet_lakes_raise_no_alarm(
    calls: duckdb.DuckDBPyConnection, day: str
) -> None:
    """March ends within the interval in 90 % of 200 lakes at least. A budget of 1.05 USD, which none of them uses up,
    is said to be exceeded in fewer than 5 %, each lake judged alone."""
    budget = Budget("quiet", usd=Decimal("1.05"), each="service", warn_at=Decimal(1))
    found = standings(calls, [budget], (), at(day), "UTC").every
    ends = [(one.projected(one.rest.low), one.projected(one.rest.high)) for one in found if one.rest]
    assert len(ends) == LAKES
    assert sum(low <= 1 <= high for low, high in ends if low is not None and high is not None) >= 0.9 * LAKES
    assert sum(bool(list(findings(calls, [one]))) for one in found) < 0.05 * LAKES


def test_what_will_be_exceeded_is_said_long_before(calls: duckdb.DuckDBPyConnection) -> None:
    """March ends at 1.5 times the budget: said on the 14th, when hardly any lake has used it up."""
    budget = Budget("planted", usd=Decimal(1) / Decimal("1.5"), each="service", warn_at=Decimal(1))
    report = asked(calls, budget, now=at("2026-03-14T12:00Z"))
    said = [one for one in report.findings if one.p_value is not None]
    assert len(said) > 0.9 * LAKES
    for finding in said:
        check_projection(finding)


def check_projection(finding: Finding) -> None:
    """It says its interval, how sure it is and when."""
    assert finding.p_value is not None
    assert finding.p_value < 0.03
    low, high = (finding.evidence[f"projected_{end}"] for end in ("low", "high"))
    assert f"{low.usd:,.2f} USD" in finding.title  # type: ignore[attr-defined]
    assert f"{high.usd:,.2f} USD" in finding.title  # type: ignore[attr-defined]
    assert str(finding.evidence["used_up_on"]) > "2026-03-14"
    assert any("projection" in caveat for caveat in finding.caveats)

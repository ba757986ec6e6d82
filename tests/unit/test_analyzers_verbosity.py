"""The analyzer `verbosity`: what is long is planted beside it and counted by hand, at 10 USD for a million tokens."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers import frame, registry
from analyzers.chances import as_many_marked, leaning
from analyzers.finding import Finding, Report
from analyzers.honest import Amount
from analyzers.setting import BadSetting
from analyzers.window import Window
from tests.calls_table import call, calls_table, lake_with_calls, replace_calls
from tests.pages import assert_example
from tests.planted import Quiet, fill

START = dt.datetime(2026, 3, 2)
NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
DAYS = 14
MONTH = Decimal("30.436875")
Row = dict[str, Any]

VERBOSITY = registry.get("verbosity")
CONNECTION = calls_table()


def lake(*parts: Iterable[Row]) -> duckdb.DuckDBPyConnection:
    """One connection for every lake; it holds these calls alone."""
    replace_calls(CONNECTION, [row for part in parts for row in part])
    return CONNECTION


def window(days: int = DAYS) -> Window:
    start = START.replace(tzinfo=dt.UTC)
    return Window(start, start + days * DAY)


def reported(connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any) -> Report:
    return VERBOSITY.run(connection, over or window(), settings)


def findings(
    connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any
) -> tuple[Finding, ...]:
    over = over or window()
    reports = {"verbosity": reported(connection, over, **settings)}
    return frame.settle(connection, over, NOW, reports)["verbosity"].findings


def answer(tokens: int | None, day: int, number: int, **columns: Any) -> Row:
    """In a session of its own."""
    usage = {} if tokens is None else {"cost_output_usd": Decimal(tokens) * Decimal("0.00001")}
    about = {
        "start_time": START + day * DAY + dt.timedelta(hours=9, minutes=number),
        "agent_name": "writer",
        "operation": "chat",
        "session_id": f"{day}-{number}-{columns.get('user_id')}",
        "user_id": "one",
        "output_tokens": tokens,
        "cost_usd": usage.get("cost_output_usd"),
    }
    return call(**(about | usage | columns))


def every_day(tokens: int | None, count: int, days: int = DAYS, **columns: Any) -> Iterator[Row]:
    return (answer(tokens, day, number, **columns) for day in range(days) for number in range(count))


def rows(report: Report) -> list[dict[str, Any]]:
    names = [column.name for column in report.columns]
    return [dict(zip(names, row, strict=True)) for row in report.rows]


# --- what is counted


def test_answers_of_twice_the_median_and_their_surplus_are_counted_per_cohort():
    """Of a cohort with 100, 100, 100, 200 and 500 tokens the last two are long: 500 tokens beyond the median."""
    lengths = (100, 100, 100, 200, 500)
    report = reported(lake(answer(tokens, 0, number) for number, tokens in enumerate(lengths)))
    (row,) = rows(report)
    assert (row["agent"], row["model"], row["operation"], row["kind"]) == (
        "writer",
        "gpt-4o",
        "chat",
        "answer",
    )
    assert (row["calls"], row["median_tokens"], row["long_calls"], row["long_share"]) == (5, 100, 2, 0.4)
    assert row["surplus_tokens"] == 500
    assert row["spend_beyond_median_usd"] == Decimal("0.005")
    assert row["spend_of_output_usd"] == Decimal("0.01")


def test_four_answers_are_no_cohort_and_the_number_is_a_setting():
    connection = lake(answer(100, 0, number) for number in range(4))
    assert reported(connection).rows == ()
    assert len(reported(connection, least_calls=4).rows) == 1


def test_requests_for_tools_are_compared_with_such_and_agents_models_and_operations_apart():
    """Brief requests for tools do not make the answers after them long."""
    kinds: tuple[Row, ...] = (
        {},
        {"finish_reasons": ["tool_calls"]},
        {"agent_name": "coder"},
        {"request_model": "gpt-4o-mini"},
        {"operation": "generate_content"},
        {"pricing_mode": "subscription", "plan_tier": "team"},
    )
    report = reported(lake(*(every_day(100 * 5**at, 5, 1, **columns) for at, columns in enumerate(kinds))))
    assert len(report.rows) == len(kinds)
    assert {row["long_calls"] for row in rows(report)} == {0}


def test_reasoning_is_no_part_of_the_length_nor_of_the_surplus():
    """A thought of 900 tokens before 100; and 100 before 300, all at the price of output: 0.002 USD of surplus."""
    thinking = {"reasoning_tokens": 900, "cost_output_usd": Decimal("0.01")}
    longer = {"reasoning_tokens": 100, "cost_output_usd": Decimal("0.004")}
    connection = lake(
        (answer(1000, 0, number, **thinking) for number in range(5)), [answer(400, 0, 9, **longer)]
    )
    (row,) = rows(reported(connection))
    assert (row["median_tokens"], row["long_calls"], row["surplus_tokens"]) == (100, 1, 200)
    assert row["reasoning_tokens"] == 4600
    assert row["spend_beyond_median_usd"] == Decimal("0.002")


def test_reasoning_with_a_price_of_its_own_is_not_in_the_cost_of_the_output():
    """100 of 400 tokens are reasoning, and stand in another part of the cost."""
    apart = {
        "reasoning_tokens": 100,
        "cost_output_usd": Decimal("0.003"),
        "cost_reasoning_usd": Decimal("0.005"),
    }
    (row,) = rows(reported(lake(every_day(100, 5, 1), [answer(400, 0, 9, **apart)])))
    assert row["spend_beyond_median_usd"] == Decimal("0.002")


def test_what_does_not_tell_its_length_is_counted_and_said():
    report = reported(
        lake(every_day(100, 5, 1), every_day(None, 3, 1), every_day(9999, 2, 1, status_code="ERROR"))
    )
    assert rows(report)[0]["calls"] == 5
    assert report.notes[0] == "3 of 8 calls do not say how much they answered and are left out"


def test_an_unknown_cost_is_no_amount():
    unpriced = {"cost_output_usd": None, "cost_usd": None}
    report = reported(lake(answer(100, 0, at, **unpriced) for at in range(5)))
    (row,) = rows(report)
    assert row["spend_beyond_median_usd"] is None
    assert row["spend_of_output_usd"] is None
    assert row["reasoning_tokens"] is None
    assert report.notes[0] == "5 of 5 calls have no known cost of their output, which is in no sum of money"


# --- who gets long answers


def test_a_user_with_long_answers_is_found_with_what_they_cost():
    """On 14 days four users get two answers of 100 tokens each, one two of 400: 28 times 300 tokens beyond the median,
    200 beyond twice the median."""
    connection = lake(
        *(every_day(100, 2, user_id=f"user-{number}") for number in range(4)),
        every_day(400, 2, user_id="verbose"),
    )
    (finding,) = findings(connection)
    assert (finding.kind, finding.dimension["user"], finding.dimension["agent"]) == (
        "long-for-some",
        "verbose",
        "writer",
    )
    assert (finding.estimate.low, finding.estimate.high) == (
        Amount("api", Decimal("0.056")),
        Amount("api", Decimal("0.084")),
    )
    assert finding.estimate.tokens_high_per_month == int(28 * 200 * MONTH / 14)
    assert (finding.evidence["long_answers"], finding.evidence["long_sessions"]) == (28, 28)
    assert finding.evidence["median_tokens"] == 100
    assert any("lengths are compared, not worth" in caveat for caveat in finding.caveats)


def test_one_session_with_many_long_answers_is_no_habit_of_its_user():
    """40 long answers in one session are one piece of work: a second session of the user is as all others are."""
    connection = lake(
        *(every_day(100, 3, user_id=f"user-{number}") for number in range(4)),
        (answer(400, 3, number, user_id="once", session_id="long") for number in range(40)),
        every_day(100, 1, user_id="once"),
    )
    assert [finding.kind for finding in findings(connection)] == []


def test_the_dimension_in_which_values_are_compared_is_a_setting():
    connection = lake(
        *(every_day(100, 2, service_name=f"shop-{number}") for number in range(4)),
        every_day(400, 2, service_name="blog"),
    )
    (finding,) = findings(connection, by="service")
    assert finding.dimension["service"] == "blog"
    with pytest.raises(BadSetting, match="`by` is one of"):
        reported(connection, by="nothing")


def test_a_surplus_that_hardly_matters_is_passed_over():
    """Answers of 400 tokens are 3 % of all that the agent answers."""
    connection = lake(every_day(100, 40, user_id="most"), every_day(200, 1, user_id="verbose"))
    assert findings(connection) == ()
    assert len(findings(connection, least_share="0.01")) == 1


def test_the_example_of_the_page(tmp_path: Path):
    """A writer answers four users at about 300 tokens and one at 1,200; a reviewer writes ten times as much as usual
    in every tenth answer."""
    usual = [
        answer(
            270 + 10 * (number % 7),
            day,
            number,
            user_id=f"user-{number % 4}",
            call_id=f"usual-{day}-{number}",
        )
        for day in range(DAYS)
        for number in range(12)
    ]
    verbose = [
        answer(1200, day, number, user_id="maria", call_id=f"long-{day}-{number}", input_tokens=140)
        for day in range(DAYS)
        for number in range(3)
    ]
    reviews = [
        answer(
            4000 if number < 2 else 380 + 5 * (number % 9), day, number, agent_name="reviewer",
            user_id=f"user-{day % 3}", call_id=f"review-{day}-{number}",
            finish_reasons=["length" if number < 1 else "stop"],
        )
        for day in range(DAYS)
        for number in range(20)
    ]  # fmt: skip
    assert_example("verbosity", lake_with_calls(tmp_path / "data", *usual, *verbose, *reviews))


# --- tails


def test_a_tail_without_its_like_below_the_median_is_found():
    """On 14 days ten answers of 100 tokens and three of 1,000, which is beyond 200, twice the median."""
    connection = lake(
        every_day(100, 10), every_day(1000, 3, user_id="two"), every_day(100, 20, user_id="two")
    )
    (finding,) = findings(connection)
    assert finding.kind == "long-tail"
    assert (finding.evidence["far_above"], finding.evidence["as_far_below"]) == (42, 0)
    assert finding.estimate.high.usd == 42 * Decimal("0.009")
    assert finding.estimate.low.usd == 42 * Decimal("0.008")


def test_what_is_as_often_far_below_the_median_makes_the_low_end_lower():
    """Every day three answers of 1,000 tokens and one of 10: two of three are more than the spread of both sides."""
    connection = lake(
        every_day(100, 40), every_day(1000, 3, session_id=None), every_day(10, 1, session_id=None)
    )
    (finding,) = findings(connection)
    assert finding.estimate.high.usd == 42 * Decimal("0.009")
    assert finding.estimate.low.usd == pytest.approx(42 * Decimal("0.008") * 2 / 3)


def test_answers_that_spread_evenly_to_both_sides_are_no_tail():
    """As many of a tenth of the median as of ten times it."""
    assert findings(lake(every_day(100, 30), every_day(1000, 4), every_day(10, 4))) == ()


# --- whatever the lake


def test_the_order_of_rows_changes_nothing():
    calls = [
        *every_day(100, 9),
        *every_day(900, 4, user_id="x"),
        *every_day(700, 3, agent_name=None, service_name="s"),
    ]
    connection = lake(calls)
    ordered, found = reported(connection), findings(connection)
    random.Random(7).shuffle(calls)
    connection = lake(calls)
    assert (reported(connection).rows, findings(connection)) == (ordered.rows, found)
    assert found


def test_factors_of_one_and_less_are_refused():
    with pytest.raises(BadSetting, match="`factor` is a number above 1"):
        reported(lake(), factor=1)


# --- chance

# Lengths that differ for no reason, in standard deviations of their logarithm: of calls, and of whole sessions.
SPREAD = """
    WITH drawn AS (
        SELECT
            call_id AS drawn_id,
            datediff('week', $start::TIMESTAMP, start_time) % 4 AS shape,
            [1.0, 0.6, 0.4, 1.5][1 + shape] AS of_calls,
            [0.0, 0.8, 1.2, 0.5][1 + shape] AS of_sessions,
            sqrt(-2 * ln(chance(call_id || 'a'))) * cos(2 * pi() * chance(call_id || 'b')) AS by_call,
            sqrt(-2 * ln(chance(session_id || 'a'))) * cos(2 * pi() * chance(session_id || 'b')) AS by_session,
            greatest(1, round(300 * exp(of_calls * by_call + of_sessions * by_session)))::BIGINT AS length
        FROM calls
        WHERE output_tokens IS NOT NULL
    )
    UPDATE calls
    SET output_tokens = length, cost_output_usd = length * 0.00001
    FROM drawn
    WHERE drawn_id = call_id
"""


@pytest.mark.parametrize("lakes", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_of_lakes_with_log_normal_answers_fewer_than_one_in_twenty_raises_an_alarm(lakes: int):
    """Each lake is a week of six agents and ten users; the logarithm of lengths has a deviation of 1 to 1.6, of single
    answers or of whole sessions."""
    with calls_table() as connection:
        quiet = Quiet(days=lakes * 7, sessions_a_day=8)
        fill(connection, quiet)
        connection.execute("CREATE MACRO chance(about) AS ((hash(about) >> 11) + 0.5e0) / 9007199254740992e0")
        connection.execute(SPREAD, {"start": quiet.first_day})
        alarms = 0
        for number in range(lakes):
            start = quiet.window().start + number * 7 * DAY
            alarms += bool(findings(connection, Window(start, start + 7 * DAY)))
    assert alarms < lakes / 20


@pytest.mark.parametrize("parts", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_the_interval_holds_the_planted_mean_in_nine_of_ten_lakes(parts: int):
    """Agents in the place of lakes, 60 in each part, each with a user who gets answers of 900 to 1,500 tokens where 300
    are usual, more or fewer of them by day."""
    pick = random.Random(20260303)
    held = total = 0
    for part in range(parts):
        rates = {f"agent-{part}-{number}": pick.uniform(2, 4) for number in range(60)}
        connection = lake(*(planted(pick, agent, rate) for agent, rate in rates.items()))
        for finding in findings(connection, window(14)):
            mean = Decimal(rates[str(finding.dimension["agent"])]) * Decimal("0.009") * MONTH
            held += finding.estimate.low_per_month.usd <= mean <= finding.estimate.high_per_month.usd
            total += 1
    assert total >= 57 * parts
    assert held / total >= 0.9


def planted(pick: random.Random, agent: str, rate: float) -> Iterator[Row]:
    """`rate` long answers a day in the mean, 900 tokens beyond the median each in the mean, and 6 usual ones."""
    for day in range(14):
        expected = rate * (0.5 if (START + day * DAY).weekday() >= 5 else 1.2) * pick.choice([0.7, 1.3])
        for number in range(6):
            yield answer(300, day, number, agent_name=agent, user_id="usual")
        for number in range(sum(pick.random() < expected / 30 for _ in range(30))):
            yield answer(pick.choice((900, 1200, 1500)), day, number, agent_name=agent, user_id="verbose")


def test_the_chances_are_those_of_the_textbooks():
    """Fisher's tea: all four of four told apart, one in 70. Ten tosses all heads are 1 in 1024, at most exp(-5)."""
    assert as_many_marked(4, 4, 4, 8) == pytest.approx(1 / 70)
    assert as_many_marked(0, 4, 4, 8) == pytest.approx(1)
    assert 1 / 1024 <= leaning(10, 10) == pytest.approx(math.exp(-5))
    assert leaning(0, 10) == leaning(-3, 10) == 1.0

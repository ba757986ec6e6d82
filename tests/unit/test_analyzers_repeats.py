"""The analyzers `reuse` and `application-cache`: calls that ask what was asked before, planted and counted by hand."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from analyzers import frame, registry, repeats
from analyzers.finding import Finding, Report
from analyzers.honest import Amount
from analyzers.prompts import HOW_TO_SWITCH_ON
from analyzers.setting import BadSetting
from analyzers.shared import Shared
from analyzers.window import Window
from tests.asked_calls import Row, asked, lake, lake_with_asked
from tests.calls_table import insert_calls, replace_calls
from tests.pages import assert_example

START = dt.datetime(2026, 3, 2)
NOW = dt.datetime(2030, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
DAYS = 14
MONTH = Decimal("30.436875")
ANALYZERS = {name: registry.get(name) for name in ("reuse", "application-cache")}


def each_day(prompt: str, times: int, days: int = DAYS, **columns: Any) -> list[Row]:
    """So many calls a day, an hour apart."""
    return [
        asked(prompt, START + day * DAY + at * HOUR, **columns) for day in range(days) for at in range(times)
    ]


def window(days: int = DAYS) -> Window:
    start = START.replace(tzinfo=dt.UTC)
    return Window(start, start + days * DAY)


def reported(
    name: str, connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any
) -> Report:
    return ANALYZERS[name].run(connection, over or window(), settings)


def findings(
    name: str, connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any
) -> tuple[Finding, ...]:
    over = over or window()
    reports = {name: reported(name, connection, over, **settings)}
    return frame.settle(connection, over, NOW, reports)[name].findings


def claims(report: Report) -> dict[str, tuple[Decimal, Decimal]]:
    return {row["call_id"]: (row["low_usd"], row["high_usd"]) for row in report.claims.to_pylist()}


def row_of(report: Report) -> dict[str, Any]:
    (row,) = report.rows
    return dict(zip((column.name for column in report.columns), row, strict=True))


# --- the same plan


def test_sessions_that_begin_alike_are_found_with_what_their_first_calls_cost():
    """On each of 14 days two sessions begin with the same call of 0.01 USD: 27 of 28 were computed again, with as many
    tokens."""
    (finding,) = findings("reuse", lake(each_day("plan the week", 2)))
    assert (finding.kind, finding.dimension["agent"], finding.dimension["model"]) == (
        "same-plan",
        "planner",
        "gpt-4o",
    )
    assert finding.estimate.high == Amount("api", Decimal("0.27"))
    assert (
        finding.estimate.low_per_month.usd
        <= 28 * Decimal("0.01") * MONTH / 14
        <= finding.estimate.high_per_month.usd
    )
    assert (
        finding.evidence["sessions"],
        finding.evidence["repeats"],
        finding.evidence["answered_as_long"],
    ) == (28, 27, 27)
    assert "answers are not compared" in " ".join(finding.caveats)


def test_what_is_answered_at_another_length_counts_at_the_high_end_alone():
    rows = [asked("plan", START + at * DAY, output_tokens=10 + at % 2, call_id=f"c-{at}") for at in range(4)]
    report = reported("reuse", lake(rows))
    assert claims(report) == {
        "c-1": (0, Decimal("0.01")),
        "c-2": (Decimal("0.01"),) * 2,
        "c-3": (0, Decimal("0.01")),
    }


def test_two_sessions_are_too_few_and_the_number_is_a_setting():
    connection = lake(asked("plan", START + at * DAY) for at in range(2))
    assert reported("reuse", connection).rows == ()
    assert row_of(reported("reuse", connection, least_sessions=2))["repeats"] == 1


@pytest.mark.parametrize(
    ("why", "columns"),
    [
        ("another agent", {"agent_name": "other"}),
        ("another model", {"request_model": "gpt-4o-mini"}),
        ("another prompt", {"prompt": "plan the month"}),
        ("a failed call", {"status_code": "ERROR"}),
        ("perhaps the same call", {"possible_duplicate": True}),
        ("another tenant", {"tenant": "other"}),
        ("no prompt that is known", {"prompt": None}),
        ("before it was answered", {"start_time": START + dt.timedelta(milliseconds=500)}),
    ],
)
def test_what_is_not_the_same_plan_is_not_repeated(why: str, columns: Row):
    """Three sessions begin alike, and a fourth does otherwise."""
    rows = [asked("plan", START + at * DAY, call_id=f"c-{at}") for at in range(3)]
    report = reported("reuse", lake(rows, [asked("plan", START + 3 * DAY, call_id="other") | columns]))
    assert set(claims(report)) == {"c-1", "c-2"}, why


def test_a_prompt_in_the_middle_of_a_session_is_no_plan():
    """The same question is asked in four sessions, which began with something else."""
    rows = [
        asked(prompt, START + at * DAY + later * HOUR, session_id=f"s-{at}")
        for at in range(4)
        for later, prompt in enumerate((f"begin {at}", "and the weather?"))
    ]
    assert reported("reuse", lake(rows)).rows == ()


def test_one_session_that_asks_again_and_again_is_one_session():
    rows = [asked("plan", START + at * HOUR, session_id="s") for at in range(9)]
    assert reported("reuse", lake(rows)).rows == ()


# --- identical calls


def test_calls_that_a_cache_would_have_answered_are_found_with_what_they_cost():
    """On each of 14 days four calls ask the same, an hour apart: one asks first, 55 again within a day. 44 others ask
    something of their own."""
    own = [asked(f"own {at}", START + at * 7 * HOUR) for at in range(44)]
    (finding,) = findings("application-cache", lake(each_day("what is the return policy", 4), own))
    assert (finding.kind, finding.dimension) == ("identical-calls", {"agent": "planner", "model": "gpt-4o"})
    assert finding.estimate.high == Amount("api", Decimal("0.55"))
    assert finding.evidence["repeats"] == 55
    assert finding.evidence["share"] == 0.55
    assert finding.evidence["different_calls"] == 1


def test_an_answer_lives_as_long_as_is_said():
    """After 23, 25 and 1 hours: two would have been answered with a life of a day, one with a life of two hours."""
    at = [START, START + 23 * HOUR, START + 48 * HOUR, START + 49 * HOUR]
    connection = lake(asked("hello", moment, call_id=f"c-{number}") for number, moment in enumerate(at))
    assert set(claims(reported("application-cache", connection, least_repeats=1))) == {"c-1", "c-3"}
    assert set(claims(reported("application-cache", connection, least_repeats=1, time_to_live="2h"))) == {
        "c-3"
    }


@pytest.mark.parametrize(
    ("why", "columns"),
    [
        ("another model", {"request_model": "gpt-4o-mini"}),
        ("another operation", {"operation": "text_completion"}),
        ("another prompt", {"prompt": "bye"}),
        ("another tenant", {"tenant": "other"}),
        ("another temperature", {"attributes": {"gen_ai.request.temperature": 0.7}}),
        ("another limit", {"attributes": {"gen_ai.request.max_tokens": 5}}),
        ("a failed call", {"status_code": "ERROR"}),
        ("perhaps the same call", {"possible_duplicate": True}),
        ("before it was answered", {"start_time": START + dt.timedelta(milliseconds=900)}),
    ],
)
def test_what_is_not_the_same_call_is_not_answered_by_a_cache(why: str, columns: Row):
    other = asked("hello", START + HOUR) | columns
    report = reported("application-cache", lake([asked("hello", START)], [other]), least_repeats=1)
    assert report.rows == (), why


def test_an_agent_of_which_few_calls_repeat_others_is_passed_over():
    """Three of 400 calls."""
    own = [asked(f"own {at}", START + at * HOUR / 2) for at in range(396)]
    connection = lake(own, [asked("hello", START + at * HOUR) for at in range(4)])
    assert reported("application-cache", connection).rows == ()
    assert row_of(reported("application-cache", connection, least_share="0.005"))["repeats"] == 3


def test_answers_given_to_other_users_are_counted_and_warned_of():
    connection = lake(asked("hello", START + at * HOUR, user_id=f"user-{at % 2}") for at in range(28))
    (candidate,) = reported("application-cache", connection).candidates
    assert candidate.evidence["asked_by_another_user"] == 27
    assert any("one user's alone" in caveat for caveat in candidate.caveats)


def test_captured_text_tells_as_well_as_hashes_do():
    rows = [asked(None, START + at * HOUR) for at in range(5)]
    connection = lake(rows)
    texts = [
        {
            **{name: row[name] for name in ("tenant", "trace_id", "span_id", "start_time")},
            **{"kind": "prompts", "key": "gen_ai.input.messages", "load_id": "1"},
            "content": json.dumps(
                [{"role": "user", "parts": [{"type": "text", "content": "how" + " " * (at + 1) + "are"}]}]
            ),
        }
        for at, row in enumerate(rows)
    ]
    insert_calls(connection, "contents", texts[:4])
    report = reported("application-cache", connection)
    assert row_of(report)["repeats"] == 3
    assert report.notes[0] == "what 1 of 5 calls asked is not known: they are left out"


# --- the cache that there is


def test_the_hit_rate_that_spans_tell_is_a_fact():
    """Of 10 requests of the shop 4 are answered by its cache; one of them tells usage, and is priced."""
    rows = [
        asked(
            None, START + at * HOUR, service_name="shop", call_id=f"c-{at}", cost_usd=Decimal(1) if at == 0 else None,
            attributes={"gen_ai.cache.hit": at < 4},
        )
        for at in range(10)
    ]  # fmt: skip
    silent = [asked(None, START + at * HOUR, service_name="blog") for at in range(5)]
    (finding,) = findings("application-cache", lake(rows, silent))
    assert finding.title == "the cache of shop answered 4 of 10 requests (40%)"
    assert finding.evidence == {"lookups": 10, "hits": 4, "hit_rate": 0.4, "hits_with_cost": 1}
    assert finding.examples == ("c-0", "c-1", "c-2", "c-3")
    assert any("priced here as if the provider had been asked" in caveat for caveat in finding.caveats)
    assert finding.p_value is None


@pytest.mark.parametrize("name", ANALYZERS)
def test_what_a_cache_answered_is_not_claimed(name: str):
    rows = [
        asked("plan", START + at * HOUR, call_id=f"c-{at}", attributes={"cache.hit": at == 4})
        for at in range(6)
    ]
    report = reported(name, lake(rows))
    assert set(claims(report)) == {"c-1", "c-2", "c-3", "c-5"}


def test_the_attribute_of_the_hit_is_a_setting():
    rows = [asked(None, START, attributes={"app.cached": answer}) for answer in ("HIT", "MISS", "MISS", "?")]
    (finding,) = findings("application-cache", lake(rows), hit_attributes=["app.cached"])
    assert (finding.evidence["lookups"], finding.evidence["hits"]) == (3, 1)
    with pytest.raises(BadSetting, match="no key of an attribute"):
        reported("application-cache", lake(), hit_attributes=['a"b'])


# --- the pages


def test_the_examples_of_the_pages(tmp_path: Path):
    """Every day two sessions of a planner begin alike, with answers of two lengths; and four users ask a shop
    the same, whose own cache answers a fifth of its requests."""
    plans = [
        asked(
            "plan the day", START + day * DAY + at * HOUR, output_tokens=800 + 5 * ((day + at) % 2),
            call_id=f"plan-{day}-{at}", session_id=f"plan-{day}-{at}",
        )
        for day in range(DAYS)
        for at in range(2)
    ]  # fmt: skip
    questions = [
        asked(
            f"question {number % 6 if number % 2 else number + day * 10}", START + day * DAY + number * HOUR,
            agent_name=None, service_name="shop", session_id=f"ask-{day}", user_id=f"user-{number % 4}",
            cost_usd=Decimal("0.002"), call_id=f"ask-{day}-{number}", output_tokens=60 + 10 * (number // 6),
            attributes={"gen_ai.cache.hit": number % 5 == 0},
        )
        for day in range(DAYS)
        for number in range(10)
    ]  # fmt: skip
    rows = [*plans, *questions]
    data_dir = lake_with_asked(tmp_path / "data", rows)
    for name in ANALYZERS:
        assert_example(name, data_dir)


# --- whatever the lake


@pytest.mark.parametrize("name", ANALYZERS)
def test_without_hashes_and_texts_it_says_how_to_switch_them_on(name: str):
    report = reported(name, lake([asked(None, START)]))
    assert report.notes == (HOW_TO_SWITCH_ON,)
    assert (report.rows, report.findings, report.candidates) == ((), (), ())


@pytest.mark.parametrize("name", ANALYZERS)
def test_unknown_costs_and_plans_are_said(name: str):
    unknown = {"cost_usd": None, "input_tokens": None, "output_tokens": None}
    unpriced = reported(name, lake(each_day("a", 2, **unknown)))
    assert any("27 repeated calls have no known cost" in note for note in unpriced.notes)
    assert claims(unpriced) == {}
    undeclared = reported(name, lake(each_day("a", 2, pricing_mode="unknown", plan_tier="unknown")))
    assert any("Declare the plan" in note for note in undeclared.notes)


@pytest.mark.parametrize("name", ANALYZERS)
def test_the_order_of_rows_changes_nothing(name: str):
    rows = [
        *each_day("a", 3),
        *each_day("b", 2, agent_name=None, service_name="shop"),
        *each_day("a", 3, user_id="u"),
    ]
    rows = [row | {"call_id": f"c-{at}", "output_tokens": at % 3} for at, row in enumerate(rows)]
    connection = lake(rows)
    ordered, found = reported(name, connection), findings(name, connection)
    random.Random(7).shuffle(rows)
    connection = lake(rows)
    assert (reported(name, connection).rows, findings(name, connection)) == (ordered.rows, found)
    assert len(found) == 2


# --- together


def test_analyzers_that_share_what_calls_asked_say_what_each_says_alone(monkeypatch: pytest.MonkeyPatch):
    """Prompts are read once for both; spans' attributes once for each choice of attributes."""
    hit = {"cache.hit": "true"}
    connection = lake(
        each_day("plan the week", 3), each_day("again", 4, attributes=hit), [asked("once", START)]
    )
    alone = [reported(name, connection) for name in ANALYZERS]
    reads: list[str] = []

    def counted(name: str) -> None:
        read = getattr(repeats, name)
        monkeypatch.setattr(repeats, name, lambda *of: (reads.append(name), read(*of))[1])

    counted("_prompts")
    counted("_cache_lookups")
    shared = Shared()
    together = [one.run(connection, window(), {}, shared) for one in ANALYZERS.values()]
    for ours, theirs in zip(together, alone, strict=True):
        assert (ours.rows, ours.notes, ours.findings, ours.candidates) == (
            theirs.rows,
            theirs.notes,
            theirs.findings,
            theirs.candidates,
        )
        assert ours.claims.sort_by("call_id") == theirs.claims.sort_by("call_id")
        assert ours.rows
    assert sorted(reads) == ["_cache_lookups", "_prompts"]
    ANALYZERS["reuse"].run(connection, window(), {"hit_attributes": ["app.hit"]}, shared)
    assert sorted(reads) == ["_cache_lookups", "_cache_lookups", "_prompts"]


# --- chance


def hashes(monkeypatch: pytest.MonkeyPatch, prompts: dict[str, str]) -> None:
    """What is known of prompts, for lakes without spans: hundreds of them in seconds."""
    names = {"call_id": [*prompts], "told_by": ["hashes"] * len(prompts), "hash": [*prompts.values()]}
    table = pa.table(names | {"bytes": [100] * len(prompts)})
    monkeypatch.setattr(repeats, "prompts", lambda *_: table)


def quiet(pick: random.Random, days: int) -> Iterator[Row]:
    """Sessions of some calls, each with something of its own to ask. What is the same was not answered before: it is
    asked at the same time, of another model, or days later by other agents."""
    for day in range(days):
        for _ in range(pick.randint(2, 6)):
            at = START + day * DAY + pick.random() * 20 * HOUR
            session = f"s-{pick.random()}"
            for turn in range(min(1 + int(pick.paretovariate(1.5)), 10)):
                prompt = f"p-{pick.random()}"
                row = asked(
                    prompt,
                    at + turn * HOUR / 60,
                    session_id=session,
                    cost_usd=Decimal(pick.randint(1, 99)) / 1000,
                )
                yield row
                if pick.random() < 0.1:
                    yield row | {"call_id": f"{row['call_id']}-twin", "span_id": "twin"}
                if pick.random() < 0.1:
                    yield row | {"call_id": f"{row['call_id']}-other", "request_model": "gpt-4o-mini"}
        if day % 5 == 0:
            yield asked("how are you", START + day * DAY, agent_name=f"agent-{day}")


@pytest.mark.parametrize("lakes", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_of_lakes_with_nothing_to_find_fewer_than_one_in_twenty_raises_an_alarm(
    lakes: int, monkeypatch: pytest.MonkeyPatch
):
    """Each lake is a week. No span tells of a cache."""
    rows = [*quiet(random.Random(20260305), 7 * lakes)]
    hashes(monkeypatch, {row["call_id"]: row["prompt"] for row in rows})
    connection = lake()
    replace_calls(connection, [{name: row[name] for name in row if name != "prompt"} for row in rows])
    alarms = dict.fromkeys(ANALYZERS, 0)
    for number in range(lakes):
        start = window().start + number * 7 * DAY
        for name in ANALYZERS:
            silent = {"hit_attributes": []} if name == "application-cache" else {}
            alarms[name] += bool(findings(name, connection, Window(start, start + 7 * DAY), **silent))
    assert max(alarms.values()) < lakes / 20


@pytest.mark.parametrize("parts", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_the_interval_holds_the_planted_mean_in_nine_of_ten_lakes(
    parts: int, monkeypatch: pytest.MonkeyPatch
):
    """Agents in the place of lakes, 60 in each part, each with a prompt that is asked again more or less often by
    day."""
    pick = random.Random(20260306)
    held, total = dict.fromkeys(ANALYZERS, 0), dict.fromkeys(ANALYZERS, 0)
    for part in range(parts):
        rates = {f"agent-{part}-{number}": pick.uniform(2, 5) for number in range(60)}
        rows = [row for agent, rate in rates.items() for row in planted(pick, agent, rate)]
        hashes(monkeypatch, {row["call_id"]: row["prompt"] for row in rows})
        connection = lake()
        replace_calls(connection, [{name: row[name] for name in row if name != "prompt"} for row in rows])
        for name in ANALYZERS:
            for finding in findings(name, connection):
                mean = Decimal(rates[str(finding.dimension["agent"])]) * Decimal("0.01") * MONTH
                held[name] += (
                    finding.estimate.low_per_month.usd <= mean <= finding.estimate.high_per_month.usd
                )
                total[name] += 1
    assert min(total.values()) >= 57 * parts
    assert all(held[name] / total[name] >= 0.9 for name in ANALYZERS)


def planted(pick: random.Random, agent: str, rate: float) -> Iterator[Row]:
    """`rate` sessions a day in the mean begin with the same call; the first is a minute before the window's."""
    yield asked(agent, START - HOUR, agent_name=agent)
    for day in range(DAYS):
        expected = rate * (0.5 if (START + day * DAY).weekday() >= 5 else 1.2) * pick.choice([0.7, 1.3])
        for number in range(sum(pick.random() < expected / 20 for _ in range(20))):
            yield asked(agent, START + day * DAY + number * HOUR, agent_name=agent)

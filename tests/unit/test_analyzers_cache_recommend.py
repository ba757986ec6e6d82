"""The analyzer `cache-recommend`: beginnings that calls share are found, priced by hand, and nothing else is."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from analyzers import registry
from analyzers.finding import Finding, Report
from tests.cached_calls import (
    DAY,
    DAYS,
    DAYS_IN_MONTH,
    MINUTE,
    OPUS,
    START,
    WINDOW,
    cached_call,
    priced_table,
    report_of,
)
from tests.pages import assert_example
from tests.prompted_calls import Section, evidence, insert_prompted, lake_with_prompts, prompted_call

TOOLS: Final = ("tools", "the tools", 2_000)
SYSTEM: Final = ("system", "the system text", 8_000)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with priced_table() as made:
        yield made


def run(connection: duckdb.DuckDBPyConnection, rows: Sequence[Row], **settings: Any) -> Report:
    insert_prompted(connection, rows)
    return report_of("cache-recommend", connection, **settings)


def question(number: object, tokens: int = 1_000) -> Section:
    return "user", f"question {number}", tokens


def bursts(
    begins: Sequence[Section], *, calls: int = 5, apart: dt.timedelta = MINUTE, **columns: Any
) -> Iterator[Row]:
    """On each day a burst of calls that begin alike and ask something else each."""
    for day in range(DAYS):
        for number in range(calls):
            at = START + day * DAY + number * apart
            yield prompted_call(
                at, [*begins, question(f"{day} {number}")], call_id=f"{day} {number}", **columns
            )


def only(report: Report) -> Finding:
    [finding] = report.findings
    return finding


# --- what is planted is found -----------------------------------------------------------------------


def test_a_shared_beginning_that_was_not_asked_for_is_found_and_priced(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """A day: 5 calls within 5 minutes with the same 10,000 tokens first. Of them 4 would read at 0.5 instead of 5 USD
    for a million, one would write at 6.25: 4 x 0.045 - 0.0125 = 0.1675 USD."""
    found = only(run(connection, list(bursts([TOOLS, SYSTEM]))))
    assert found.evidence["sharing_calls"] == DAYS * 4
    assert found.evidence["missed_tokens"] == DAYS * 4 * 10_000
    assert found.evidence["tokens_to_write"] == DAYS * 10_000
    assert found.evidence["cache_up_to"] == "system text"
    assert found.evidence["reads_that_pay_one_write"] == pytest.approx(1.25 / 4.5, abs=0.01)
    assert found.dimension == {"provider": "anthropic", "model": "claude-opus-4-5", "agent": "planner"}
    assert "at the end of the system text; the message behind it may vary" in str(found.action)
    assert found.estimate is not None
    assert found.estimate.low.usd < DAYS * Decimal("0.1675") < found.estimate.high.usd


def test_where_the_breakpoint_goes_is_where_prompts_stop_being_alike(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """Tools alone are shared where system texts are of each call; an example of the conversation where it is shared."""
    tools = ("tools", "many tools", 9_000)
    rows = [
        prompted_call(START + n * MINUTE, [tools, ("system", f"at {n}", 500), question(n)], call_id=f"c{n}")
        for n in range(10)
    ]
    assert run(connection, rows).rows[0][9] == "tools"
    example = ("user", "an example", 3_000), ("assistant", "its answer", 3_000)
    rows = [
        prompted_call(START + n * MINUTE, [SYSTEM, *example, question(n)], call_id=f"c{n}") for n in range(10)
    ]
    assert run(connection, rows).rows[0][9] == "message 2"


def test_within_a_long_system_text_the_place_is_told(connection: duckdb.DuckDBPyConnection) -> None:
    within = [
        ("system*", "1", 1_024),
        ("system*", "2", 1_024),
        ("system*", "3", 1_024),
        ("system*", "4", 1_024),
    ]
    begins = [("tools", "t", 1_000), *within]
    rows = [
        prompted_call(
            START + day * DAY + n * MINUTE,
            [*begins, ("system", f"now {day} {n}", 500), question(n)],
            call_id=f"{day} {n}",
        )
        for day in range(DAYS)
        for n in range(10)
    ]
    report = run(connection, rows)
    assert report.rows[0][9] == "about 5,096 tokens, within the system text"
    assert "cut the system text after about 5,096 tokens" in str(report.findings[0].action)


def test_a_growing_conversation_is_cached_at_its_end(connection: duckdb.DuckDBPyConnection) -> None:
    """Each prompt of a session begins with the whole one before."""
    rows = []
    for day in range(DAYS):
        sections: list[Section] = [TOOLS, SYSTEM]
        for number in range(8):
            sections = [*sections, question(f"{day} {number}", 3_000)]
            at = START + day * DAY + number * MINUTE
            rows.append(prompted_call(at, sections, call_id=f"{day} {number}", session_id=str(day)))
    found = only(run(connection, rows))
    assert found.evidence["cache_up_to"] == "the end of each prompt"
    assert "at the end of each request" in str(found.action)


def test_pauses_longer_than_five_minutes_ask_for_the_longer_time(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = only(run(connection, list(bursts([TOOLS, SYSTEM], calls=12, apart=20 * MINUTE))))
    assert found.evidence["cache_lives_seconds"] == 3600
    assert "longer time to live" in str(found.action)


def test_an_automatic_cache_that_was_not_read_saves_nothing_for_sure(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = only(run(connection, list(bursts([TOOLS, SYSTEM], model="gpt", written=None))))
    assert found.kind == "not-served"
    assert found.estimate is not None
    assert found.estimate.low.usd == 0
    assert found.estimate.high.usd == DAYS * 4 * Decimal(
        "0.01375"
    )  # 11,000 tokens at most, 1.25 USD a million less
    assert "prompt_cache_key" in str(found.action)


@pytest.mark.parametrize("model", ["opus", "gpt"])
def test_what_varies_early_is_found_with_what_stays_the_same_behind_it(
    connection: duckdb.DuckDBPyConnection, model: str
) -> None:
    """A time in the first 512 tokens of the system text; 8,000 tokens behind it are the same. Of 5 calls a day 4 would
    have read them: 4 x 8,000 at 4.50 USD a million less a write at 1.25, or at 1.25 USD less."""
    rows = [
        prompted_call(
            START + day * DAY + n * MINUTE,
            [("system*", f"at {day} {n}", 512), SYSTEM, question(f"{day} {n}")],
            call_id=f"{day} {n}",
            model=model,
        )
        for day in range(DAYS)
        for n in range(5)
    ]
    found = only(run(connection, rows))
    assert found.kind == "order"
    assert found.evidence["varies_in"] == "system text"
    assert found.evidence["varies_within_tokens"] == 512
    assert found.evidence["tokens_behind"] == DAYS * 4 * 8_000
    assert found.estimate is not None
    assert found.estimate.low.usd == 0
    a_day = {"opus": Decimal("0.134"), "gpt": Decimal("0.04")}[model]
    assert found.estimate.high.usd == pytest.approx(DAYS * a_day)


def test_captured_text_is_enough(connection: duckdb.DuckDBPyConnection) -> None:
    """No hashes: the texts are compared."""
    rows = [{**row, "evidence": None} for row in bursts([SYSTEM])]
    insert_prompted(connection, rows)
    for row in rows:
        connection.execute(
            "INSERT INTO contents SELECT '', ?, '1', 'prompts', 'gen_ai.input.messages', to_json(["
            "{role: 'system', content: repeat('rule ', 6000)}, {role: 'user', content: ?}])::VARCHAR, ?, 'load'",
            [row["trace_id"], row["call_id"], row["start_time"]],
        )
    report = registry.get("cache-recommend").run(connection, WINDOW, {})
    connection.execute("DELETE FROM contents")
    assert report.rows[0][5] == DAYS * 4
    assert report.rows[0][9] == "system text"


def test_the_page_shows_what_it_prints(tmp_path: Path) -> None:
    assert_example("cache-recommend", lake_with_prompts(tmp_path / "data", list(bursts([TOOLS, SYSTEM]))))


# --- silence ----------------------------------------------------------------------------------------


QUIET: Final[dict[str, list[Row]]] = {
    "beginnings differ": [
        row
        for n in range(40)
        for row in [
            prompted_call(START + n * MINUTE, [("system", f"text {n}", 9_000), question(n)], call_id=f"c{n}")
        ]
    ],
    "the cache was read": list(bursts([TOOLS, SYSTEM], read=10_000)),
    "shorter than what is cached": list(bursts([("system", "brief", 2_000)])),
    "further apart than the cache lives": list(bursts([TOOLS, SYSTEM], calls=1)),
    "in parallel": list(bursts([TOOLS, SYSTEM], apart=dt.timedelta(0))),
    "failed": list(bursts([TOOLS, SYSTEM], status_code="ERROR")),
    "in a batch": list(bursts([TOOLS, SYSTEM], batch=True)),
    "two calls": list(bursts([TOOLS, SYSTEM]))[:2],
    "something varies early and little is the same behind it": [
        prompted_call(
            START + n * MINUTE, [("system", f"at {n}", 8_000), ("user", "go on", 90)], call_id=f"c{n}"
        )
        for n in range(40)
    ],
    "the same behind another beginning, long after": [
        prompted_call(START + n * DAY / 4, [("tools", f"at {n}", 500), SYSTEM, question(n)], call_id=f"c{n}")
        for n in range(40)
    ],
    "no rule for the model": list(bursts([TOOLS, SYSTEM], provider="ollama", request_model="qwen3")),
}


@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_said(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    report = run(connection, QUIET[name])
    assert report.findings == ()
    assert report.rows == ()


def test_a_group_of_each_pricing_mode_and_agent(connection: duckdb.DuckDBPyConnection) -> None:
    """What two agents, or two ways to pay, have in common is found for each alone and never added."""
    rows = [
        {**row, "call_id": f"{mode} {agent} {row['call_id']}", "trace_id": f"{mode} {agent} {row['call_id']}"}
        for mode in ("api", "subscription")
        for agent in ("planner", "writer")
        for row in bursts([TOOLS, SYSTEM], pricing_mode=mode, agent_name=agent)
    ]
    report = run(connection, rows)
    assert {(row[2], row[3], row[5]) for row in report.rows} == {
        (agent, mode, DAYS * 4) for mode in ("api", "subscription") for agent in ("planner", "writer")
    }


def test_groups_that_read_their_cache_are_passed_over(connection: duckdb.DuckDBPyConnection) -> None:
    """Though they have more input than the one that does not."""
    cached = [
        {**row, "call_id": f"c {row['call_id']}", "trace_id": f"c {row['call_id']}"}
        for row in bursts([TOOLS, SYSTEM], calls=9, read=10_000, agent_name="cached")
    ]
    report = run(connection, [*cached, *bursts([TOOLS, SYSTEM])])
    assert [row[2] for row in report.rows] == ["planner"]
    assert only(report).dimension["agent"] == "planner"


def test_what_is_not_known_is_said(connection: duckdb.DuckDBPyConnection) -> None:
    silent = [{**row, "evidence": None} for row in bursts([TOOLS, SYSTEM])]
    report = run(connection, silent)
    assert any("prompt_hashes" in note for note in report.notes)
    untold = [
        {
            **cached_call(START, 9_000, None, None),
            "trace_id": None,
            "span_id": None,
            "evidence": None,
            "call_id": "u",
        }
    ]
    report = run(connection, [*bursts([TOOLS, SYSTEM]), *untold])
    assert any(note.startswith("1 calls do not mention their cache") for note in report.notes)
    assert report.rows[0][4] == DAYS * 5
    without_price = run(connection, list(bursts([TOOLS, SYSTEM], cost_usd=None)))
    assert without_price.rows[0][10:] == (None,) * 4
    assert without_price.findings == ()


# --- 200 lakes --------------------------------------------------------------------------------------


def lake(chance: random.Random, *, planted: bool) -> tuple[list[Row], float]:
    """Agents whose prompts differ much in length, some of whose calls come soon after each other; without anything
    planted each prompt begins otherwise, or what can be read is read. And what the planted agent's calls would have
    saved, by their true tokens."""
    rows, saved = [], 0.0
    new, read, write = (
        float(OPUS[unit]) / 1e6 for unit in ("input_mtok", "cache_read_mtok", "cache_write_mtok")
    )
    for day in range(DAYS):
        for agent in ("cached", "various", *(("planted",) if planted else ())):
            at, ended = START + day * DAY + chance.uniform(0, 600) * MINUTE, None
            for number in range(chance.randint(2, 8)):
                at += (1 + chance.expovariate(1 / 2)) * MINUTE
                name = f"{agent} {day} {number}"
                asked = question(name, int(chance.lognormvariate(6.5, 1)) + 10)
                stable = ("system", name if agent == "various" else agent, 8_000)
                is_warm = ended is not None and at - ended <= 5 * MINUTE
                served = 8_000 if agent == "cached" and is_warm else 0
                row = prompted_call(at, [stable, asked], served, agent_name=agent, call_id=name)
                # The tokens of the system text are not quite what its share of the bytes says.
                bytes_said = round(8_000 * chance.uniform(0.9, 1.1))
                rows.append({**row, "evidence": evidence([(*stable[:2], bytes_said), asked])})
                ended = at + dt.timedelta(seconds=1)
                if agent == "planted":
                    saved += 8_000 * (new - read if is_warm else new - write)
    return rows, saved


def loud(connection: duckdb.DuckDBPyConnection, lakes: int) -> int:
    """Of so many quiet lakes those with findings."""
    chance = random.Random(1)
    return sum(bool(run(connection, lake(chance, planted=False)[0]).findings) for _ in range(lakes))


def held(connection: duckdb.DuckDBPyConnection, lakes: int) -> tuple[int, int]:
    """In how many of so many lakes what is planted is found, and how many of the estimates for a month hold the mean of
    what would have been saved."""
    chance, found, saved = random.Random(2), [], 0.0
    for _ in range(lakes):
        rows, truth = lake(chance, planted=True)
        saved += truth
        findings = run(connection, rows).findings
        found += [one.estimate for one in findings if one.dimension["agent"] == "planted" and one.estimate]
    mean = saved / lakes / DAYS * DAYS_IN_MONTH
    return len(found), sum(
        float(one.low_per_month.usd) <= mean <= float(one.high_per_month.usd) for one in found
    )


def test_quiet_lakes_are_silent(connection: duckdb.DuckDBPyConnection) -> None:
    assert loud(connection, 10) == 0


def test_the_interval_holds_what_is_planted(connection: duckdb.DuckDBPyConnection) -> None:
    found, within = held(connection, 10)
    assert found >= 9
    assert within >= found * 0.9


@pytest.mark.soak
def test_of_200_quiet_lakes_fewer_than_10_have_findings(connection: duckdb.DuckDBPyConnection) -> None:
    assert loud(connection, 200) < 10


@pytest.mark.soak
def test_of_200_intervals_nine_in_ten_hold_what_is_planted(connection: duckdb.DuckDBPyConnection) -> None:
    found, within = held(connection, 200)
    assert found >= 180
    assert within >= found * 0.9

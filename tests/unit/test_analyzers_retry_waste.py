"""Failed calls that were paid for and calls that go in circles: which they are, what they cost, how sure that is."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from analyzers import frame, honest, registry
from analyzers.finding import Finding, Report
from analyzers.setting import BadSetting
from analyzers.window import Window
from tests.calls_table import call, calls_table, insert_calls, replace_calls
from tests.planted import Quiet, quiet_lakes

START = dt.datetime(2026, 3, 2)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)
DAYS = 14
_numbers = count(1)


def window(days: int = DAYS, timezone: str = "UTC") -> Window:
    start = START.replace(tzinfo=dt.UTC)
    return Window(start, start + days * DAY, timezone)


def reported(connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any) -> Report:
    return registry.get("retry-waste").run(connection, over or window(), settings)


def found(connection: duckdb.DuckDBPyConnection, over: Window | None = None) -> tuple[Finding, ...]:
    over = over or window()
    reports = {"retry-waste": reported(connection, over)}
    return frame.settle(connection, over, NOW, reports)["retry-waste"].findings


def row_of(report: Report) -> dict[str, Any]:
    (row,) = report.rows
    return dict(zip((column.name for column in report.columns), row, strict=True))


def failed(at: dt.datetime, cost: str | None = "1", **columns: Any) -> dict[str, Any]:
    usage = {"cost_usd": None if cost is None else Decimal(cost)}
    unknown = {"input_tokens": None, "output_tokens": None} if cost is None else {}
    about = {"session_id": "s", "agent_name": "planner", "status_code": "ERROR", "error_type": "timeout"}
    return call(start_time=at, **(about | usage | unknown | columns))


def passed(at: dt.datetime, cost: str = "1", **columns: Any) -> dict[str, Any]:
    return failed(at, cost, **({"status_code": "UNSET", "error_type": None} | columns))


def insert_tools(connection: duckdb.DuckDBPyConnection, *tools: dict[str, Any]) -> None:
    insert_calls(connection, "spans", tools)


def tool(at: dt.datetime, name: str = "search", arguments: int | None = 40, **columns: Any) -> dict[str, Any]:
    """A tool span, `arguments` bytes of which the gate took."""
    evidence = None if arguments is None else f'{{"gated": {{"gen_ai.tool.call.arguments": {arguments}}}}}'
    about = {
        "tenant": "",
        "trace_id": "t",
        "span_id": f"tool-{next(_numbers)}",
        "name": f"execute_tool {name}",
        "kind": "INTERNAL",
        "start_time": at,
        "start_unix_nano": 0,
        "end_unix_nano": 0,
        "status_code": "UNSET",
        "role": "tool",
        "session_id": "s",
        "agent_name": "planner",
        "tool_name": name,
        "evidence": evidence,
        "source": "otlp",
        "received_at": at,
        "load_id": "1",
    }
    return about | columns


def steps(
    names: Sequence[str], arguments: Iterable[int | None] | None = None, **columns: Any
) -> tuple[Any, Any]:
    """A session that asks for one tool after the other: its calls and its tool spans, one of each a minute."""
    sizes = list(arguments) if arguments is not None else [40] * len(names)
    calls = [passed(START + at * MINUTE, call_id=f"ask-{at}", **columns) for at in range(len(names))]
    tools = [
        tool(START + at * MINUTE + MINUTE / 2, name, size)
        for at, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    return calls, tools


def session(names: Sequence[str], arguments: Iterable[int | None] | None = None) -> duckdb.DuckDBPyConnection:
    calls, tools = steps(names, arguments)
    connection = calls_table(*calls)
    insert_tools(connection, *tools)
    return connection


def claims(report: Report) -> dict[str, tuple[Decimal, Decimal]]:
    return {row["call_id"]: (row["low_usd"], row["high_usd"]) for row in report.claims.to_pylist()}


# --- failed calls


def test_failed_calls_that_were_tried_again_are_found_with_what_they_cost():
    """On each of 14 days a call for 0.25 fails after a second and is sent again a minute later: 3.50 for nothing, at
    both ends."""
    rows = [
        one
        for day in range(DAYS)
        for one in (
            failed(START + day * DAY, "0.25", call_id=f"failed-{day}"),
            passed(START + day * DAY + MINUTE, "0.25"),
        )
    ]
    (finding,) = found(calls_table(*rows))
    assert finding.dimension == {"agent": "planner", "model": "gpt-4o"}
    assert (finding.estimate.low, finding.estimate.high) == (honest.Amount("api", Decimal("3.5")),) * 2
    assert set(finding.examples) <= {f"failed-{day}" for day in range(DAYS)}
    assert finding.evidence == {
        "calls": 14,
        "failed_calls": 14,
        "retried": 14,
        "retries_succeeded": 14,
        "errors": ["timeout"],
    }


@pytest.mark.parametrize(
    ("why", "again"),
    [
        ("too late", {"start_time": START + 6 * MINUTE}),
        ("another session", {"session_id": "other"}),
        ("another agent", {"agent_name": "other"}),
        ("another model", {"request_model": "gpt-4o-mini"}),
        ("other input", {"input_tokens": 120}),
        ("begun before the other failed", {"start_time": START + dt.timedelta(milliseconds=500)}),
        ("another tenant", {"tenant": "other"}),
    ],
)
def test_what_is_not_the_same_call_is_no_retry(why: str, again: dict[str, Any]):
    """A failed call without a retry gives its cost at the high end only: nobody paid twice."""
    other = passed(START + MINUTE) | again
    report = reported(calls_table(failed(START, call_id="failed"), other))
    assert row_of(report)["retried_calls"] == 0, why
    assert claims(report) == {"failed": (0, 1)}


@pytest.mark.parametrize(
    ("why", "again"),
    [
        ("a trace, without a session", {"session_id": None, "trace_id": "t"}),
        ("about as much input", {"input_tokens": 110}),
        ("input that nobody knows", {"input_tokens": None}),
        ("a model that answers under its dated name", {"response_model": "gpt-4o-2024-08-06"}),
    ],
)
def test_the_same_call_again(why: str, again: dict[str, Any]):
    where = {name: value for name, value in again.items() if name in ("session_id", "trace_id")}
    report = reported(calls_table(failed(START, **where), passed(START + MINUTE, **again)))
    assert (row_of(report)["retried_calls"], row_of(report)["retries_succeeded"]) == (1, 1), why


def test_a_retry_that_fails_too_is_a_failed_call_of_its_own():
    rows = [failed(START), failed(START + MINUTE), passed(START + 2 * MINUTE)]
    row = row_of(reported(calls_table(*rows)))
    assert (row["failed_calls"], row["retried_calls"], row["retries_succeeded"]) == (2, 2, 1)
    assert row["spend_of_failed_calls_usd"] == 2


def test_a_retry_after_the_windows_end_is_seen():
    end = START + DAY
    report = reported(calls_table(failed(end - MINUTE), passed(end + MINUTE)), window(1))
    assert row_of(report)["retried_calls"] == 1


def test_failed_calls_without_usage_cost_nothing_that_is_known():
    """They are counted and said, and in no sum and no claim."""
    report = reported(calls_table(failed(START, None), passed(START + MINUTE)))
    row = row_of(report)
    assert (row["failed_calls"], row["retried_calls"], row["failed_without_cost"]) == (1, 1, 1)
    assert row["spend_of_failed_calls_usd"] is None
    assert (claims(report), report.candidates) == ({}, ())
    assert any("1 failed calls report no usage" in note for note in report.notes)


# --- loops


def test_a_loop_is_the_fourth_of_six_and_claims_what_repeats():
    """search, read, search, read, search, search: four of six are searches as long. Of the asking calls the second to
    the fourth search repeat one; where arguments are known by length only, nothing of that is sure."""
    names = ["search", "read", "search", "read", "search", "search"]
    report = reported(session(names, [40, 41, 40, 42, 40, 40]))
    assert claims(report) == {f"ask-{at}": (0, 1) for at in (2, 4, 5)}
    (candidate,) = report.candidates
    assert candidate.dimension == {"agent": "planner", "tool": "search"}
    assert candidate.evidence == {
        "looping_calls": 3,
        "tool_calls": 3,
        "sessions": 1,
        "same_arguments": ["length"],
    }
    assert any("no more" in caveat for caveat in candidate.caveats)


def insert_logs(
    connection: duckdb.DuckDBPyConnection, tools: Iterable[dict[str, Any]], **columns: Any
) -> None:
    """Log records that tell of the same tool calls, without ids of a trace unless `columns` have them."""
    same = (
        "tenant",
        "role",
        "session_id",
        "agent_name",
        "tool_name",
        "evidence",
        "source",
        "received_at",
        "load_id",
    )
    logs = [
        {name: one[name] for name in same}
        | {"record_hash": one["span_id"], "time": one["start_time"], "trace_id": None, "span_id": None}
        | columns
        for one in tools
    ]
    insert_calls(connection, "log_records", logs)


def test_loops_are_seen_where_only_log_records_tell_of_tool_calls():
    """Guarantee: the same claims as from spans; of a session that has both, each tool call counts once."""
    names = ["search", "read", "search", "read", "search", "search"]
    calls, tools = steps(names, [40, 41, 40, 42, 40, 40])
    connection = calls_table(*calls)
    insert_logs(connection, tools)
    from_logs = reported(connection)
    assert claims(from_logs) == {f"ask-{at}": (0, 1) for at in (2, 4, 5)}
    insert_tools(connection, *tools)
    assert claims(reported(connection)) == claims(from_logs)


def test_two_reports_of_two_tool_calls_are_no_loop():
    """Scenario: two equal searches, each told of by a span and a log record."""
    calls, tools = steps(["search"] * 2)
    connection = calls_table(*calls)
    insert_tools(connection, *tools)
    insert_logs(connection, tools)
    assert claims(reported(connection)) == {}


def test_what_was_captured_of_a_span_is_not_the_arguments_of_its_log_records():
    """Scenario: log records of tool calls within one span, whose prompt was captured; their own arguments were not."""
    calls, tools = steps(["search"] * 6, [None] * 6)
    connection = calls_table(*calls)
    insert_logs(connection, tools, trace_id="t", span_id="llm")
    connection.execute(
        "INSERT INTO contents VALUES ('', 't', 'llm', 'prompts', 'gen_ai.input.messages', 'x', ?, '1')",
        [START],
    )
    report = reported(connection)
    assert claims(report) == {}
    assert any("by name alone" in note for note in report.notes)


def capture(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """`text`, in SQL, is what was captured of each tool call's arguments."""
    connection.execute(
        f"""INSERT INTO contents
        SELECT tenant, trace_id, span_id, 'tool_inputs', 'gen_ai.tool.call.arguments', {text}, start_time, load_id
        FROM spans"""
    )


def test_captured_arguments_make_a_loop_sure_from_where_it_could_be_seen():
    """Seven equal searches: the fourth shows the loop, so that asking for the fifth to the seventh is surely
    wasted; for the second to the fourth perhaps."""
    connection = session(["search"] * 7)
    capture(connection, "'{}'")
    report = reported(connection)
    assert claims(report) == {f"ask-{at}": (int(at > 3), 1) for at in range(1, 7)}


def test_captured_arguments_that_differ_are_no_loop_though_they_are_as_long():
    connection = session(["search"] * 7)
    capture(connection, "span_id")
    report = reported(connection)
    assert (report.rows, claims(report)) == ((), {})


@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        (["search"] * 3, [40] * 3),
        (["search", "a", "b", "search", "c", "search", "search"], [40] * 7),
        (["search"] * 8, range(40, 48)),
    ],
)
def test_what_is_no_loop(names: list[str], arguments: Iterable[int]):
    """Three alike; four of seven; a tool used with other arguments each time."""
    assert claims(reported(session(names, arguments))) == {}


def test_without_arguments_names_that_repeat_are_counted_and_nothing_is_claimed():
    report = reported(session(["read"] * 8, [None] * 8))
    assert (row_of(report)["suspected_calls"], row_of(report)["looping_calls"]) == (7, 0)
    assert claims(report) == {}
    assert any("by name alone" in note for note in report.notes)


def test_a_tool_that_fails_again_and_again_is_a_loop_whatever_its_arguments():
    calls, tools = steps(["read"] * 5, [None] * 5)
    connection = calls_table(*calls)
    insert_tools(connection, *(one | {"status_code": "ERROR"} for one in tools))
    assert claims(reported(connection)) == {f"ask-{at}": (0, 1) for at in range(1, 5)}


def test_a_call_that_also_asks_for_something_new_is_not_claimed():
    calls, tools = steps(["search"] * 5)
    connection = calls_table(*calls)
    insert_tools(connection, *tools, tool(START + 4 * MINUTE + MINUTE * 0.7, "read", 12))
    assert set(claims(reported(connection))) == {"ask-1", "ask-2", "ask-3"}


def test_sessions_and_agents_are_looked_at_apart():
    """Three searches in each of two sessions, or by each of two agents of one session, are no loop."""
    for column in ("session_id", "agent_name"):
        calls, tools = steps(["search"] * 6)
        for at, (one, other) in enumerate(zip(calls, tools, strict=True)):
            one[column] = other[column] = f"half-{at % 2}"
        connection = calls_table(*calls)
        insert_tools(connection, *tools)
        assert claims(reported(connection)) == {}, column


def test_tool_spans_that_say_nothing_of_session_and_agent_belong_to_the_calls_of_their_trace():
    calls, tools = steps(["search"] * 5, trace_id="t")
    connection = calls_table(*calls)
    insert_tools(connection, *(one | {"session_id": None, "agent_name": None} for one in tools))
    assert len(claims(reported(connection))) == 4


def test_a_loop_needs_two_alike():
    with pytest.raises(BadSetting, match="from 2"):
        reported(calls_table(), loop_same=1)


# --- whatever the lake


def planted(choose: random.Random, agent: str, days: int = DAYS) -> list[dict[str, Any]]:
    """Days with 0 to 6 failed calls of 0.5 to 1.5 USD, each tried again: on the mean day 3 USD are wasted."""
    rows = []
    for day in range(days):
        for number in range(choose.randint(0, 6)):
            at = START + day * DAY + number * dt.timedelta(hours=2)
            cost = f"{choose.uniform(0.5, 1.5):.6f}"
            rows += [failed(at, cost, agent_name=agent), passed(at + MINUTE, cost, agent_name=agent)]
    return rows


@pytest.mark.parametrize("lakes", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_intervals_hold_the_waste_that_was_planted(lakes: int):
    """Of agents whose mean waste a day is known, 60 in each lake, at least nine in ten have that of a month between the
    two ends."""
    connection = calls_table()
    month = Decimal("3") * Decimal("30.436875")
    held = []
    for lake in range(lakes):
        choose = random.Random(lake)
        replace_calls(
            connection, [row for agent in range(60) for row in planted(choose, f"agent-{agent}", 8)]
        )
        held += [
            one.estimate.low_per_month.usd <= month <= one.estimate.high_per_month.usd
            for one in found(connection, window(8))
        ]
    assert len(held) == 60 * lakes
    assert sum(held) >= 54 * lakes


@pytest.mark.parametrize("lakes", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_quiet_lakes_have_no_findings(lakes: int):
    """Failed calls without usage, tools used in turn, heavy-tailed sessions: looked at as one, as there is not a single
    call in them to claim."""
    quiet, connection = next(quiet_lakes(lakes, Quiet(growth=0.01, days=14, sessions_a_day=6)))
    connection.execute("DELETE FROM calls; DELETE FROM spans")
    for table in ("calls", "spans"):
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * EXCLUDE (seed) FROM planted_{table}")
    report = reported(connection, quiet.window())
    assert sum(row[3] for row in report.totals) > 2.5 * lakes  # failed calls
    assert (report.candidates, claims(report)) == ((), {})


def shown(report: Report) -> Any:
    return report.as_dict(), report.candidates, sorted(map(str, report.claims.to_pylist()))


def test_the_order_of_rows_does_not_matter():
    calls, tools = steps(["search"] * 6)
    rows = [*calls, *planted(random.Random(3), "other", 4)]
    seen = []
    for turn in range(2):
        random.Random(turn).shuffle(rows)
        random.Random(turn).shuffle(tools)
        connection = calls_table(*rows)
        insert_tools(connection, *tools)
        seen.append((shown(reported(connection)), found(connection)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "rows", [[], [failed(START, None)], [passed(START)]], ids=["none", "failed", "passed"]
)
def test_next_to_nothing_in_a_lake(rows: list[dict[str, Any]]):
    report = reported(calls_table(*rows))
    assert (report.candidates, claims(report)) == ((), {})
    assert report.rows or report.notes[0].startswith("no failed calls and no loops")


def test_calls_without_tokens_and_cost_claim_nothing():
    calls, tools = steps(["search"] * 6)
    unknown = {"input_tokens": None, "output_tokens": None, "cost_usd": None}
    connection = calls_table(*(one | unknown for one in calls), failed(START, None))
    insert_tools(connection, *tools)
    report = reported(connection)
    assert (report.candidates, claims(report)) == ((), {})
    assert (row_of(report)["looping_calls"], row_of(report)["looping_tokens"]) == (5, None)


def test_tokens_alone_make_a_finding_in_tokens():
    rows = [
        one
        for day in range(DAYS)
        for one in (failed(START + day * DAY, "1"), passed(START + day * DAY + MINUTE))
    ]
    (finding,) = found(calls_table(*(one | {"cost_usd": None} for one in rows)))
    assert (finding.estimate.basis, finding.estimate.high) == ("tokens", 14 * 110)


def test_pricing_modes_are_told_apart_and_undeclared_plans_said():
    modes = {"api": "api", "subscription": "pro", "unknown": "unknown"}
    rows = [
        failed(START + day * DAY, "2", pricing_mode=mode, plan_tier=plan)
        for mode, plan in modes.items()
        for day in range(DAYS)
    ]
    connection = calls_table(*rows)
    report = reported(connection)
    assert any("Declare the plan" in note for note in report.notes)
    assert {one.estimate.basis: one.estimate.high.usd for one in found(connection)} == {
        "spend": 28,
        "implied API value": 28,
        "list price, plan not declared": 28,
    }


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/New_York"])
def test_days_of_23_hours_are_days(timezone: str):
    """New York put its clocks forward on 8 March 2026, Berlin on the 29th: a failed call on each local noon is one a
    day."""
    zone = ZoneInfo(timezone)
    noons = [dt.datetime(2026, 3, day, 12, tzinfo=zone) for day in range(1, 32)]
    rows = [failed(noon.astimezone(dt.UTC).replace(tzinfo=None), "1") for noon in noons]
    midnights = [dt.datetime(2026, month, 1, tzinfo=zone).astimezone(dt.UTC) for month in (3, 4)]
    (finding,) = found(calls_table(*rows), Window(*midnights, timezone))
    assert finding.estimate.high == honest.Amount("api", Decimal(31))
    assert finding.estimate.high_per_month.usd == pytest.approx(Decimal("30.436875"), rel=Decimal("0.002"))

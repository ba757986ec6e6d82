"""Sessions that make the same tool calls in the same order: which they are, what asking costs, how sure that is."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from analyzers import frame, registry
from analyzers.finding import Finding, Report
from analyzers.honest import Amount
from analyzers.setting import BadSetting
from analyzers.window import Window
from semconv.planned import relation
from tests.calls_table import call, calls_table
from tests.planted import Quiet, quiet_lakes

START = dt.datetime(2026, 3, 2)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)
DAYS = 14
TABLES = ("calls", "spans", "log_records", "contents")
STEPS = ("search", "read_file", "run_tests")
Row = dict[str, Any]

CONNECTION = calls_table()
TYPES = {name: CONNECTION.execute(f"SELECT * FROM {name} LIMIT 0").to_arrow_table().schema for name in TABLES}


class Lake:
    """The rows of a lake that is being made."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {name: [] for name in TABLES}

    def session(
        self,
        name: str,
        begins: dt.datetime,
        tools: Sequence[str] = STEPS,
        arguments: Any = None,
        **columns: Any,
    ) -> None:
        """A call a minute, each of 0.50 USD and 110 tokens, which asks for one tool; a last one answers. `arguments`
        gives what was captured of each step by its place; nothing where there are none."""
        for at in range(len(tools) + 1):
            asked = begins + at * MINUTE
            self.call(f"{name}-{at}", asked, **({"session_id": name, "trace_id": name} | columns))
            if at < len(tools):
                self.tool(f"{name}-{at}", asked + MINUTE / 3, tools[at], session_id=name, trace_id=name)
                if arguments is not None:
                    self.capture(f"{name}-{at}", asked + MINUTE / 3, arguments(at), trace_id=name)

    def call(self, call_id: str, at: dt.datetime, **columns: Any) -> None:
        about = {"agent_name": "fixer", "cost_usd": Decimal("0.5")}
        self.rows["calls"].append(call(call_id=call_id, start_time=at, **(about | columns)))

    def tool(self, span_id: str, at: dt.datetime, name: str, **columns: Any) -> None:
        about = {
            "tenant": "",
            "span_id": span_id,
            "name": f"execute_tool {name}",
            "kind": "INTERNAL",
            "start_time": at,
            "start_unix_nano": 0,
            "end_unix_nano": 0,
            "duration_ns": 2_000_000_000,
            "status_code": "UNSET",
            "role": "tool",
            "tool_name": name,
            "source": "otlp",
            "received_at": at,
            "load_id": "1",
        }
        self.rows["spans"].append(about | columns)

    def log(self, number: object, at: dt.datetime, name: str, **columns: Any) -> None:
        about = {
            "tenant": "",
            "record_hash": str(number),
            "time": at,
            "role": "tool",
            "tool_name": name,
            "source": "otlp",
            "received_at": at,
            "load_id": "1",
        }
        self.rows["log_records"].append(about | columns)

    def capture(self, span_id: str, at: dt.datetime, content: str, **columns: Any) -> None:
        about = {
            "tenant": "",
            "span_id": span_id,
            "kind": "tool_inputs",
            "key": "gen_ai.tool.call.arguments",
            "content": content,
            "start_time": at,
            "load_id": "1",
        }
        self.rows["contents"].append(about | columns)

    def stored(self) -> duckdb.DuckDBPyConnection:
        """One connection for every lake, as laying one out takes as long as many of them; it holds these rows alone."""
        for name, rows in self.rows.items():
            CONNECTION.execute(f"DELETE FROM {name}")
            if rows:
                fields = [TYPES[name].field(key) for key in {key: None for row in rows for key in row}]
                with relation(CONNECTION, "inserted", pa.Table.from_pylist(rows, pa.schema(fields))):
                    CONNECTION.execute(f"INSERT INTO {name} BY NAME SELECT * FROM inserted")
        return CONNECTION


def a_day(number: int) -> dt.datetime:
    """Sessions in turn over the days, some hours apart."""
    return START + number % DAYS * DAY + dt.timedelta(hours=8 + number // DAYS)


def sessions(count: int, tools: Sequence[str] = STEPS, arguments: Any = None, **columns: Any) -> Lake:
    lake = Lake()
    for number in range(count):
        lake.session(f"s-{number}", a_day(number), tools, arguments, **columns)
    return lake


def window(days: int = DAYS) -> Window:
    start = START.replace(tzinfo=dt.UTC)
    return Window(start, start + days * DAY)


def reported(connection: duckdb.DuckDBPyConnection, over: Window | None = None, **settings: Any) -> Report:
    return registry.get("workflow-restructure").run(connection, over or window(), settings)


def found(connection: duckdb.DuckDBPyConnection, over: Window | None = None) -> tuple[Finding, ...]:
    over = over or window()
    reports = {"workflow-restructure": reported(connection, over)}
    return frame.settle(connection, over, NOW, reports)["workflow-restructure"].findings


def orders(report: Report) -> dict[str, int]:
    """How many sessions each order of steps has."""
    at = [column.name for column in report.columns]
    return {row[at.index("order")]: row[at.index("sessions")] for row in report.rows}


def claims(report: Report) -> dict[str, tuple[Decimal, Decimal]]:
    return {row["call_id"]: (row["low_usd"], row["high_usd"]) for row in report.claims.to_pylist()}


# --- what is a workflow


def test_a_workflow_is_found_with_what_asking_for_it_costs():
    """28 sessions of three tools: 84 calls of 0.50 USD ask for one each, 28 more answer and are not claimed. Every
    session runs the same tests, so that a third of that is sure."""
    arguments = ('{{"query": "bug {0}"}}', '{{"path": "src/{0}.py"}}', '{{"command": "pytest -q"}}')
    lake = Lake()
    for number in range(28):
        lake.session(
            f"s-{number}", a_day(number), arguments=lambda at, number=number: arguments[at].format(number)
        )
    (finding,) = found(lake.stored())
    assert finding.dimension["agent"] == "fixer"
    assert (finding.estimate.low, finding.estimate.high) == (
        Amount("api", Decimal(14)),
        Amount("api", Decimal(42)),
    )
    assert finding.estimate.tokens_high_per_month == int(84 * 110 * Decimal("30.436875") / DAYS)
    assert finding.evidence == {
        "calls": 84,
        "steps": ["search(query: text)", "read_file(path: file path)", "run_tests(command: command)"],
        "sessions": 28,
        "sessions_by_chance": round(28 * (1 / 4) ** 4, 2),
        "sessions_with_tools": 28,
        "steps_with_same_arguments": 1,
        "sure_calls": 28,
        "cost_of_asking": Amount("api", Decimal(42)),
    }
    assert set(finding.examples) <= {f"s-{number}-{at}" for number in range(28) for at in range(3)}
    assert not any("by the tools' names alone" in caveat for caveat in finding.caveats)


def test_without_arguments_names_alone_make_a_workflow_and_nothing_is_sure():
    connection = sessions(20).stored()
    assert orders(reported(connection)) == {"search → read_file → run_tests": 20}
    assert {low for low, _ in claims(reported(connection)).values()} == {0}
    (finding,) = found(connection)
    assert any(
        "arguments of 60 of 60 tool calls were not captured" in caveat and "tool_inputs: true" in caveat
        for caveat in finding.caveats
    )


def test_fewer_sessions_are_none_unless_so_few_are_asked_for():
    connection = sessions(19).stored()
    assert reported(connection).rows == ()
    assert list(orders(reported(connection, least_sessions=19)).values()) == [19]
    with pytest.raises(BadSetting, match="from 2"):
        reported(connection, least_sessions=1)


def test_one_tool_call_is_no_workflow_unless_it_is_asked_for():
    """Most agents look something up and answer."""
    connection = sessions(28, ("search",)).stored()
    assert reported(connection).rows == ()
    assert orders(reported(connection, least_steps=1)) == {"search": 28}


def test_another_order_of_the_same_tools_is_another_workflow():
    """15 sessions one way and 15 the other are none; of 20 and 15 the 20 are one."""
    lake = sessions(15)
    for number in range(15, 30):
        lake.session(f"s-{number}", a_day(number), STEPS[::-1])
    assert reported(lake.stored()).rows == ()
    for number in range(30, 35):
        lake.session(f"s-{number}", a_day(number))
    assert orders(reported(lake.stored())) == {"search → read_file → run_tests": 20}


def test_arguments_of_another_shape_make_another_step():
    """The same tool reads one file in 20 sessions, and a list of them in 20 others."""
    lake = Lake()
    for number in range(40):
        many = number % 2
        lake.session(
            f"s-{number}",
            a_day(number),
            ("read", "answer"),
            lambda at, many=many: ['{"path": "/a", "limit": 3}', '{"path": ["/a", "/b"]}'][many],
        )
    assert orders(reported(lake.stored())) == {
        "read(limit: number, path: file path) → answer(limit: number, path: file path)": 20,
        "read(path: array) → answer(path: array)": 20,
    }


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        ('{"path": "/etc/hosts"}', "path: file path"),
        ('{"target": "C:\\\\Users\\\\me"}', "target: file path"),
        ('{"target": "src/app/main.py"}', "target: file path"),
        ('{"target": "./run"}', "target: file path"),
        ('{"target": "https://example.org/a/b"}', "target: text"),
        ('{"target": "yes/no"}', "target: text"),
        ('{"profile": "guest"}', "profile: text"),
        ('{"description": "make a list"}', "description: text"),
        ('{"cmd": "ls"}', "cmd: command"),
        ('{"run": "cd a && make"}', "run: command"),
        ('{"run": "git status"}', "run: command"),
        ('{"where": {"a": 1}}', "where: JSON object"),
        ('{"where": "{\\"a\\": 1}"}', "where: JSON object"),
        ('{"where": [1]}', "where: array"),
        ('{"n": 1.5, "deep": true, "left": null}', "deep: boolean, n: number"),
        ('{"q": "what is {this}?"}', "q: text"),
        ("{}", ""),
        ("Paris", "gen_ai.tool.call.arguments: text"),
        ("[1, 2]", "gen_ai.tool.call.arguments: array"),
        ('{"it\'s \\"quoted\\"": "x"}', 'it\'s "quoted": text'),
        ('{"broken": ', "gen_ai.tool.call.arguments: text"),
    ],
)
def test_the_shape_of_arguments(content: str, shape: str):
    connection = sessions(2, ("a", "a"), lambda _: content).stored()
    assert list(orders(reported(connection, least_sessions=2))) == [f"a({shape}) → a({shape})"]


def test_a_tools_schema_is_not_its_arguments():
    """Some libraries send the tool's parameters as it declares them, and the arguments as the prompt."""
    lake = sessions(20)
    for row in lake.rows["spans"]:
        where = {"trace_id": row["trace_id"]}
        lake.capture(row["span_id"], row["start_time"], '{"type": "object"}', key="tool.parameters", **where)
        lake.capture(
            row["span_id"], row["start_time"], '{"city": "Paris"}', key="input.value", kind="prompts", **where
        )
    assert list(orders(reported(lake.stored()))) == [" → ".join(f"{step}(city: text)" for step in STEPS)]


def test_tools_that_run_beside_each_other_have_no_order():
    """Each session asks for two tools at once, of which now one and now the other begins first."""
    lake = Lake()
    for number in range(20):
        begins, who = a_day(number), {"session_id": f"s-{number}", "trace_id": f"s-{number}"}
        lake.call(f"ask-{number}", begins, **who)
        for at, name in enumerate(("b", "a") if number % 2 else ("a", "b")):
            lake.tool(f"{number}-{name}", begins + dt.timedelta(seconds=10 + at), name, **who)
        lake.tool(f"{number}-c", begins + MINUTE, "c", **who)
    assert orders(reported(lake.stored())) == {"a → b → c": 20}


def test_agents_and_tenants_are_looked_at_apart():
    lake = Lake()
    for number in range(38):
        lake.session(f"s-{number}", a_day(number), agent_name=f"agent-{number % 2}")
    assert reported(lake.stored()).rows == ()


def test_sessions_without_an_agent_are_the_services():
    (finding,) = found(sessions(20, agent_name=None, service_name="shop").stored())
    assert finding.dimension["service"] == "shop"
    assert finding.title.startswith("service shop: 20 of 20 sessions")


def test_very_long_sessions_are_no_workflow_and_are_said():
    report = reported(sessions(20, ["a", "b"] * 26).stored())
    assert report.rows == ()
    assert any("20 of them have more than 50 tool calls" in note for note in report.notes)


def test_names_from_telemetry_stay_names():
    (finding,) = found(sessions(20, ("pay $5", "run 3 USD"), agent_name="the $9 bot").stored())
    assert '"pay $5" → "run 3 USD"' in finding.title


# --- what a tool call is


def test_what_a_library_and_the_protocol_below_it_report_is_one_tool_call():
    lake = sessions(20)
    for row in list(lake.rows["spans"]):
        below = {"span_id": f"{row['span_id']}-mcp", "parent_span_id": row["span_id"]}
        lake.rows["spans"].append(row | below)
    assert orders(reported(lake.stored())) == {"search → read_file → run_tests": 20}


@pytest.mark.parametrize("beside_spans", [False, True])
def test_tool_calls_that_are_logged(beside_spans: bool):
    """A session whose tools stand in log records alone is like any other; beside spans they are the same once more."""
    lake = sessions(20)
    for row in lake.rows["spans"]:
        lake.log(
            row["span_id"], row["start_time"] + MINUTE / 20, row["tool_name"], session_id=row["session_id"]
        )
    if not beside_spans:
        lake.rows["spans"].clear()
    assert orders(reported(lake.stored())) == {"search → read_file → run_tests": 20}
    assert len(claims(reported(lake.stored()))) == 60


def test_arguments_that_were_logged():
    lake = sessions(20)
    for row in lake.rows["spans"]:
        lake.log(row["span_id"], row["start_time"], row["tool_name"], session_id=row["session_id"])
        lake.capture(None, row["start_time"], '{"file_path": "a"}', key="tool_input")
    lake.rows["spans"].clear()
    assert list(orders(reported(lake.stored()))) == [
        " → ".join(f"{step}(file_path: file path)" for step in STEPS)
    ]


def test_tool_calls_that_do_not_say_their_session_are_of_their_traces():
    lake = sessions(20)
    for row in lake.rows["spans"]:
        row["session_id"] = None
    assert orders(reported(lake.stored())) == {"search → read_file → run_tests": 20}


def test_traces_take_the_place_of_sessions():
    lake = sessions(20, session_id=None)
    for row in lake.rows["spans"]:
        row["session_id"] = None
    assert orders(reported(lake.stored())) == {"search → read_file → run_tests": 20}


def test_a_tool_call_is_asked_for_by_its_own_agent():
    """Another agent of the session, which asks for no tools, speaks between each call and its tool."""
    lake = sessions(20)
    for row in lake.rows["spans"]:
        row["agent_name"] = "fixer"
        lake.call(
            f"other-{row['span_id']}",
            row["start_time"] - MINUTE / 6,
            agent_name="watcher",
            session_id=row["session_id"],
            trace_id=row["trace_id"],
        )
    assert not any(name.startswith("other") for name in claims(reported(lake.stored())))


# --- whatever the lake


def test_calls_without_cost_and_tokens_claim_nothing():
    unknown = {"cost_usd": None, "input_tokens": None, "output_tokens": None}
    report = reported(sessions(20, **unknown).stored())
    assert claims(report) == {}
    at = [column.name for column in report.columns]
    (row,) = report.rows
    assert (row[at.index("calls_without_cost")], row[at.index("tokens")], row[at.index("spend_usd")]) == (
        60,
        None,
        None,
    )


def test_pricing_modes_are_told_apart():
    """Half of the sessions are paid by the token, half belong to a plan: together they are a workflow, their money is
    never together."""
    lake = Lake()
    for number in range(28):
        mode = ("api", "subscription")[number // DAYS]
        lake.session(f"s-{number}", a_day(number), pricing_mode=mode)
    assert {(one.estimate.basis, one.estimate.high.usd) for one in found(lake.stored())} == {
        ("spend", 21),
        ("implied API value", 21),
    }


def test_tokens_alone_make_a_finding_in_tokens():
    (finding,) = found(sessions(28, cost_usd=None).stored())
    assert (finding.estimate.basis, finding.estimate.high) == ("tokens", 84 * 110)


def test_the_order_of_rows_does_not_matter():
    lake = sessions(28, arguments=lambda at: f'{{"n": {at}}}')
    seen = []
    for turn in range(2):
        for rows in lake.rows.values():
            random.Random(turn).shuffle(rows)
        connection = lake.stored()
        seen.append((reported(connection).as_dict(), found(connection)))
    assert seen[0] == seen[1]


def test_tools_that_are_chosen_by_chance_are_no_workflow():
    """100 agents take one of two tools at a time, one more often than the other, in sessions of a few: fewer than one
    in twenty of them has a workflow, though dozens of short sessions are alike."""
    choose, lake = random.Random(4), Lake()
    for number in range(100 * 120):
        steps = round(min(6, choose.lognormvariate(0.7, 0.6)))
        tools = choose.choices(("a", "b"), (9, 1), k=steps)
        lake.session(f"s-{number}", a_day(number // 100), tools, agent_name=f"agent-{number % 100}")
    assert agents(reported(lake.stored())) < 5
    assert agents(reported(CONNECTION, times_chance=0)) > 50


def agents(report: Report) -> int:
    return len({row[0] for row in report.rows})


@pytest.mark.parametrize("lakes", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_quiet_lakes_have_no_workflows(lakes: int):
    """Six agents in each use six tools in turn, looked at as one: fewer than one agent in twenty has one."""
    quiet, connection = next(quiet_lakes(lakes, Quiet(days=14, sessions_a_day=10)))
    connection.execute("DELETE FROM calls; DELETE FROM spans")
    for table in ("calls", "spans"):
        connection.execute(
            f"""INSERT INTO {table} BY NAME
            SELECT * EXCLUDE (seed) REPLACE (seed || agent_name AS agent_name) FROM planted_{table}"""
        )
    report = reported(connection, quiet.window())
    assert int(report.notes[0].split()[0]) > 75 * lakes  # sessions with tools
    assert agents(report) < lakes * quiet.agents / 20


def planted(choose: random.Random, lake: Lake, agents: Iterable[str]) -> None:
    """Two to five sessions a day of each agent, with two steps of 0.5 to 1.5 USD: on the mean day 7 USD."""
    for agent in agents:
        for day in range(10):
            for number in range(choose.randint(2, 5)):
                name, begins = f"{agent}-{day}-{number}", START + day * DAY + number * dt.timedelta(hours=3)
                cost = Decimal(f"{choose.uniform(0.5, 1.5):.6f}")
                lake.session(name, begins, ("a", "b"), lambda _: "{}", agent_name=agent, cost_usd=cost)


@pytest.mark.parametrize("lakes", [1, pytest.param(4, marks=pytest.mark.soak)])
def test_intervals_hold_what_was_planted(lakes: int):
    """Of agents whose mean cost of asking for the same two steps is known, 60 in each lake, at least nine in ten have
    that of a month between the two ends."""
    month = Decimal(7) * Decimal("30.436875")
    held = []
    for seed in range(lakes):
        lake = Lake()
        planted(random.Random(seed), lake, [f"agent-{number}" for number in range(60)])
        held += [
            one.estimate.low_per_month.usd <= month <= one.estimate.high_per_month.usd
            for one in found(lake.stored(), window(10))
        ]
    assert len(held) == 60 * lakes
    assert sum(held) >= 54 * lakes

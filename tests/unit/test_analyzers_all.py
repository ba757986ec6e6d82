"""What holds for every analyzer there is, whatever it looks for: on lakes without calls, without counts, in two pricing
modes, in any order of rows and any time zone.

An analyzer that comes to the registry is tested here without a further line.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final

import duckdb
import pytest

from analyzers import frame, registry
from analyzers.finding import Finding, Report
from analyzers.honest import MODE, Amount
from analyzers.window import Window
from collector.cli.render import json_text
from collector.config import Config
from collector.store.lake import Lake
from semconv.planned import relation
from tests.calls_table import call, calls_table, insert_calls
from tests.captured_lake import captured_lake
from tests.planted import Quiet, fill

NAMES: Final = tuple(registry.discover())
# Two weeks on either side of the change to summer time in Berlin, 29 March; New York's is on 8 March.
LAKE: Final = Quiet(first_day=dt.date(2026, 3, 2), days=35)
NOW: Final = dt.datetime(2026, 4, 6, 12, tzinfo=dt.UTC)
TOKENS: Final = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_5m_tokens",
    "output_tokens",
)
COSTS: Final = tuple(f"cost{part}_usd" for part in ("", "_input", "_output", "_cache_read", "_cache_write"))
DEPLOYMENT: Final = Config(
    accounts=[{"name": "anthropic-team", "plan_tier": "team", "fee_per_month": {"amount": 90}}],
    budgets=[
        {"name": "all", "usd": 20, "period": "week"},
        {"name": "agents", "tokens": 1_000_000, "each": "agent", "period": "day"},
        {"name": "one", "usd": 1, "scope": {"agent": "agent-0"}},
    ],
)
# Neither fees nor budgets: that nothing was used of them is a figure.
NOTHING_DECLARED: Final = Config()
# What a loop of errors, a dear day and a user without plan or price are made of: an analyzer has something to look at.
ODD: Final = (
    *(
        call(
            call_id=f"odd-{number}",
            start_time=dt.datetime(2026, 3, 20, 3) + number * dt.timedelta(seconds=5),
            status_code="ERROR" if number % 2 else "UNSET",
            session_id="odd",
            agent_name="agent-0",
            input_tokens=90_000,
            output_tokens=200,
            cost_usd=Decimal("0.227"),
            cost_input_usd=Decimal("0.225"),
            cost_output_usd=Decimal("0.002"),
        )
        for number in range(40)
    ),
    call(
        call_id="odd-local", pricing_mode="local", plan_tier="local", provider="ollama", request_model="qwen3"
    ),
    call(call_id="odd-unknown", pricing_mode="unknown", plan_tier="unknown", cost_usd=Decimal(3)),
)


# Nobody changes any of these.


@pytest.fixture(scope="module")
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    """Five quiet weeks with some odd calls in them."""
    with calls_table() as connection:
        fill(connection, LAKE)
        insert_calls(connection, "calls", ODD)
        yield connection


@pytest.fixture(scope="module")
def told(lake: duckdb.DuckDBPyConnection) -> Callable[[str], Report]:
    """What an analyzer says of it, by name."""
    return cache(lambda name: report_of(name, lake, LAKE.window()))


@pytest.fixture(scope="module")
def unknown_lake(lake: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same calls, none of which tells of its tokens, so that none has a cost."""
    with copied(lake) as connection:
        connection.execute(
            f"UPDATE calls SET {', '.join(f'{column} = NULL' for column in (*TOKENS, *COSTS))}"
        )
        yield connection


@pytest.fixture(scope="module")
def dear_lake(lake: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same calls, of which those through the API cost three times as much."""
    with copied(lake) as connection:
        tripled = ", ".join(f"{column} = 3 * {column}" for column in COSTS)
        connection.execute(f"UPDATE calls SET {tripled} WHERE pricing_mode = 'api'")
        yield connection


@pytest.fixture(scope="module")
def shuffled_lake(lake: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same calls and spans, loaded the other way round."""
    with copied(lake, "ORDER BY hash(start_time), rowid DESC") as connection:
        yield connection


@pytest.fixture(scope="module")
def no_calls() -> Iterator[duckdb.DuckDBPyConnection]:
    with calls_table() as connection:
        yield connection


@pytest.fixture(scope="module")
def one_call() -> Iterator[duckdb.DuckDBPyConnection]:
    """Of half a dollar."""
    one = call(
        start_time=dt.datetime(2026, 3, 10, 12), cost_usd=Decimal("0.5"), session_id="s", agent_name="a"
    )
    with calls_table(one) as connection:
        yield connection


def copied(lake: duckdb.DuckDBPyConnection, order: str = "") -> duckdb.DuckDBPyConnection:
    connection = calls_table()
    for table in ("calls", "spans"):
        with relation(connection, "rows_of", lake.execute(f"FROM {table} {order}").to_arrow_table()):
            connection.execute(f"INSERT INTO {table} FROM rows_of")
    return connection


def report_of(
    name: str,
    connection: duckdb.DuckDBPyConnection,
    window: Window,
    now: dt.datetime = NOW,
    deployment: Config = DEPLOYMENT,
) -> Report:
    """As a run of this analyzer alone has it: with defaults, settled."""
    facts = {**deployment.analyzer_facts(), "now": now}
    report = registry.get(name).bind(facts).run(connection, window, {})
    return frame.settle(connection, window, now, {name: report})[name]


def shown(report: Report) -> Any:
    """As JSON has it; sums of floats in another order differ in their last digits."""
    return json.loads(json_text(report.as_dict()), parse_float=lambda text: f"{float(text):.9g}")


def money(report: Report, mode: str) -> Counter[tuple[str, object]]:
    """Every amount that is shown under the names of a pricing mode: column or place, and value."""
    found: Counter[tuple[str, object]] = Counter()
    for at, column in enumerate(report.columns):
        if getattr(column, "pricing_mode", None) == mode:
            found.update(
                (column.name, row[at]) for row in (*report.rows, *report.totals) if row[at] is not None
            )
    for finding in report.findings:
        amounts = {**finding.evidence, **estimated(finding)}
        found.update(
            (f"{finding.finding_id} {name}", value.usd)
            for name, value in amounts.items()
            if isinstance(value, Amount) and value.pricing_mode == mode
        )
    return found


def estimated(finding: Finding) -> Mapping[str, object]:
    estimate = finding.estimate
    return {} if estimate is None else {name: getattr(estimate, name) for name in estimate.__slots__}


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_lake_is_said_to_be_empty(name: str, no_calls: duckdb.DuckDBPyConnection) -> None:
    """Guarantee: no failure, no finding, no amount, and a note for who reads it."""
    report = report_of(name, no_calls, LAKE.window(), deployment=NOTHING_DECLARED)
    assert report.findings == ()
    assert all(not money(report, mode) for mode in ("api", "subscription", "unknown", "local"))
    assert report.notes


@pytest.mark.parametrize("name", NAMES)
def test_of_one_call_nothing_is_said_that_needs_more(name: str, one_call: duckdb.DuckDBPyConnection) -> None:
    """Guarantee: findings of it are facts, and claim no more than it cost."""
    report = report_of(name, one_call, LAKE.window())
    assert [finding.p_value for finding in report.findings] == [None] * len(report.findings)
    for finding in report.findings:
        assert estimated(finding).get("confidence") is None
        assert getattr(estimated(finding).get("high"), "usd", Decimal(0)) <= Decimal("0.5")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_unknown_is_never_nought(name: str, unknown_lake: duckdb.DuckDBPyConnection) -> None:
    """Scenario: no call tells of its tokens, so none has a cost. Guarantee: no amount and no count of tokens is shown
    as a figure, 0 included, nor claimed."""
    report = report_of(name, unknown_lake, LAKE.window(), deployment=NOTHING_DECLARED)
    assert all(not money(report, mode) for mode in ("api", "subscription", "unknown", "local"))
    for at, column in enumerate(report.columns):
        if column.kind == "tokens":
            assert {row[at] for row in (*report.rows, *report.totals)} <= {None}, column.name
    assert [finding.estimate for finding in report.findings if finding.estimate is not None] == []


@pytest.mark.parametrize("name", NAMES)
def test_pricing_modes_are_never_added(
    name: str, told: Callable[[str], Report], dear_lake: duckdb.DuckDBPyConnection
) -> None:
    """Scenario: everything through the API costs three times as much. Guarantee: not one amount that is shown of
    subscriptions, undeclared plans or local models changes."""
    after = report_of(name, dear_lake, LAKE.window())
    for mode in ("subscription", "unknown", "local"):
        assert money(after, mode) == money(told(name), mode)


@pytest.mark.parametrize("name", NAMES)
def test_no_more_is_claimed_than_the_calls_of_a_mode_cost(
    name: str, lake: duckdb.DuckDBPyConnection, told: Callable[[str], Report]
) -> None:
    """All findings of one analyzer together, and no estimate with its ends the wrong way round."""
    costs = dict(lake.execute("SELECT pricing_mode, sum(cost_usd) FROM calls GROUP BY ALL").fetchall())
    claimed: Counter[str] = Counter()
    for finding in told(name).findings:
        if finding.estimate is not None and isinstance(finding.estimate.high, Amount):
            low, high = finding.estimate.low, finding.estimate.high
            assert isinstance(low, Amount)
            assert low.usd <= high.usd
            claimed[high.pricing_mode] += high.usd
    assert all(amount <= costs[mode] for mode, amount in claimed.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_does_not_matter(
    name: str, told: Callable[[str], Report], shuffled_lake: duckdb.DuckDBPyConnection
) -> None:
    """Scenario: the same calls and spans, loaded the other way round. Guarantee: the same rows, notes and findings in
    the same order, example calls included."""
    assert shown(report_of(name, shuffled_lake, LAKE.window())) == shown(told(name))


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("name", NAMES)
def test_days_of_23_hours_lose_nothing(
    name: str, timezone: str, lake: duckdb.DuckDBPyConnection, told: Callable[[str], Report]
) -> None:
    """Scenario: the same moments, looked at in a zone whose clock is put forward within them. Guarantee: calls, tokens
    and amounts add up to what they do without it, in all totals; what is projected to the end of a month may differ, as
    the month ends at another moment."""
    there, here = report_of(name, lake, LAKE.window(timezone)), told(name)
    for at, column in enumerate(here.columns):
        if column.kind in ("count", "tokens", "usd") and not column.name.startswith("projected_"):
            assert [row[at] for row in there.totals] == [row[at] for row in here.totals], column.name


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_cost_by_day_adds_up_in_every_zone(timezone: str, lake: duckdb.DuckDBPyConnection) -> None:
    """Guarantee: each call is on one day; the window's local days are there, no more."""
    window = LAKE.window(timezone)
    report = registry.get("cost").bind({"now": NOW}).run(lake, window, {"by": ["day"]})
    at = [column.name for column in report.columns].index("calls")
    ((calls,),) = lake.execute("SELECT count(*) FROM calls").fetchall()
    assert sum(row[at] for row in report.rows) == sum(row[at] for row in report.totals) == calls
    days = {row[0] for row in report.rows}
    assert len(days) <= window.days + (timezone != "UTC")


@pytest.fixture(scope="module")
def captured() -> Iterator[Lake]:
    with Lake.open(captured_lake(), read_only=True, threads=1) as lake:
        yield lake


@pytest.mark.parametrize("name", NAMES)
def test_what_real_libraries_send_can_be_analyzed(name: str, captured: Lake) -> None:
    """Guarantee: every analyzer comes to a report over a lake whose calls lack what they lack, and names the calls it
    tells of."""
    first, last, calls = captured.connection.execute(
        "SELECT min(start_time), max(start_time), list(call_id) FROM calls"
    ).fetchone()
    window = Window(first.replace(tzinfo=dt.UTC), (last + dt.timedelta(seconds=1)).replace(tzinfo=dt.UTC))
    report = report_of(name, captured.connection, window, window.end)
    assert report.columns or report.notes
    assert {example for finding in report.findings for example in finding.examples} <= set(calls)
    assert MODE in report.columns or not any(money(report, mode) for mode in ("subscription", "unknown"))

"""Nothing that prints money can leave out what kind it is: all analyzers and all commands, on calls of every mode."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analyzers import honest, registry
from analyzers.budget_terms import Budget
from analyzers.finding import Report
from analyzers.window import Window
from collector.cli.html.page import page
from collector.cli.markdown import print_markdown
from collector.cli.report import print_csv, print_json, print_table
from collector.config import Config
from collector.store.lake import Lake
from semconv.settings import AccountPlan, Fee
from tests.calls_table import call, calls_table, lake_with_calls

ROOT = Path(__file__).parents[2]
MARCH = Window(dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC))
AMOUNTS = {
    "api": Decimal("1.000001"),
    "subscription": Decimal("20.000002"),
    "unknown": Decimal("300.000004"),
    "local": Decimal("4000.000008"),
}
TIERS = {"api": "api", "subscription": "pro", "unknown": "unknown", "local": "local"}
FACTS = {
    **Config().analyzer_facts(),
    "account_plans": (AccountPlan("acme", "pro", fee_per_month=Fee(Decimal(16))),),
    "budgets": (Budget("acme", usd=Decimal(1), scope={"billing_account": "acme"}),),
    "price_overrides": (),
    "now": dt.datetime(2026, 4, 1, tzinfo=dt.UTC),
}
# What a name of money can begin with or hold, in JSON and CSV.
KINDS = re.compile("spend|implied_api_value|list_price|local_cost|fee|reported|budget")


def one_of_each_mode(**further: Any) -> list[dict[str, Any]]:
    """A call of each pricing mode, alike in all else: grouped by anything, they fall into one group."""
    same: dict[str, Any] = {
        "billing_account": "acme",
        "session_id": "s",
        "user_id": "u",
        "agent_name": "a",
        "service_name": "web",
    }
    return [
        call(
            pricing_mode=mode,
            plan_tier=TIERS[mode],
            cost_usd=amount,
            cost_low_usd=amount,
            cost_high_usd=amount,
            **same | {"reported_cost_usd": amount} | further,
        )
        for mode, amount in AMOUNTS.items()
    ]


@pytest.fixture(scope="module")
def calls() -> duckdb.DuckDBPyConnection:
    return calls_table(*one_of_each_mode())


def report_of(name: str, calls: duckdb.DuckDBPyConnection) -> Report:
    return registry.get(name).bind(FACTS).run(calls, MARCH, {})


def result_of(name: str, report: Report) -> dict[str, Any]:
    return {"analyzer": name, "window": MARCH.as_dict(), **report.as_dict()}


def sums_of_modes() -> Iterator[str]:
    """Every amount that can only come of adding two or more modes."""
    for size in (2, 3, 4):
        for several in itertools.combinations(AMOUNTS.values(), size):
            yield str(sum(several))


@pytest.mark.parametrize("name", list(registry.discover()))
def test_no_analyzer_adds_two_modes_in_any_form_of_its_output(
    name: str, calls: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(name, calls)
    printed = io.StringIO()
    result = result_of(name, report)
    print_table(result, printed)
    print_csv(result, printed)
    print_markdown([result], printed)
    print_json([result])
    captured = capsys.readouterr()
    output = printed.getvalue() + captured.out + captured.err + page([result], {}, MARCH.end)
    output = output.replace(",", "")
    for forbidden in sums_of_modes():
        assert forbidden not in output


@pytest.mark.parametrize("name", list(registry.discover()))
def test_names_that_read_like_money_stop_no_analyzer(name: str) -> None:
    """Whatever senders call their services, models and accounts: what is said of them is no unnamed money."""
    named = dict.fromkeys(
        (
            "service_name",
            "agent_name",
            "session_id",
            "user_id",
            "billing_account",
            "response_model",
            "provider",
        ),
        'the "5 USD" $5 bot',
    )
    connection = calls_table(
        *one_of_each_mode(**named, reported_cost_usd=Decimal(7)),
        *one_of_each_mode(**named, possible_duplicate=True),
        *(call(**named, cost_note="unknown_model", status_code="ERROR") for _ in range(3)),
    )
    assert result_of(name, report_of(name, connection))["analyzer"] == name


@pytest.mark.parametrize("name", list(registry.discover()))
def test_every_amount_of_an_analyzer_stands_under_a_name_that_says_what_it_is(
    name: str, calls: duckdb.DuckDBPyConnection
) -> None:
    """A Decimal is money: in a row, a total or the evidence of a finding, its name ends in _usd and tells its kind."""

    def walk(value: Any, key: str) -> None:
        if isinstance(value, dict):
            for inner, item in value.items():
                walk(item, inner)
        elif isinstance(value, list):
            for item in value:
                walk(item, key)
        elif isinstance(value, Decimal):
            assert key.endswith(("_usd", "fee_amount")), key
            assert KINDS.search(key), key

    walk(report_of(name, calls).as_dict(), "")


def test_amounts_of_two_modes_never_share_a_table(calls: duckdb.DuckDBPyConnection) -> None:
    """Each part of what people read has the amount of its own mode, under its own heading, and no other amount."""
    for name in ("cost", "accounts"):
        printed = io.StringIO()
        print_table(result_of(name, report_of(name, calls)), printed)
        tables = printed.getvalue().split("\npricing mode ")[1:]
        assert [table.split("\n")[0] for table in tables] == list(honest.MODES)
        for mode, table in zip(honest.MODES, tables, strict=True):
            assert honest.label(mode) in table
            assert [str(amount) in table for amount in AMOUNTS.values()] == [mode == one for one in AMOUNTS]


def test_whoever_shows_list_prices_without_a_plan_shows_the_line_that_declares_it(
    calls: duckdb.DuckDBPyConnection,
) -> None:
    for name in registry.discover():
        report = report_of(name, calls)
        shows = any("list_price" in key and row[key] is not None for row in _dicts(report) for key in row)
        assert shows <= any("Declare the plan in the configuration" in note for note in report.notes), name


def _dicts(report: Report) -> list[dict[str, Any]]:
    as_dict: dict[str, Any] = report.as_dict()
    return [*as_dict["rows"], *as_dict["totals"]]


# Their only mention of a cost is a statement for the reader to run, which names its own columns.
EXAMPLES = {"sql.py", "main.py"}


def test_every_command_that_reads_costs_has_their_names_from_honest() -> None:
    """Of the commands' own code: who mentions a cost column also asks honest.py what it may be called."""
    reading = {
        path.name: path.read_text()
        for path in (ROOT / "collector" / "cli").glob("*.py")
        if re.search(r"\bcost_\w*usd\b", path.read_text()) and path.name not in EXAMPLES
    }
    assert "demo.py" in reading
    for name, text in reading.items():
        assert re.search(r"import honest\b", text), name


def test_the_views_of_the_lake_have_a_column_for_each_kind_of_money(tmp_path: Path) -> None:
    """Who sums them in SQL finds the parts; cost_usd alone is the list price of all."""
    lake = lake_with_calls(tmp_path / "data", *one_of_each_mode(lead="7"), dimensions=("lead",))
    names = "spend_usd, implied_api_value_usd, list_price_usd, local_cost_usd, cost_usd"
    with Lake.open(lake, read_only=True) as opened:
        for view in ("sessions", "agents", "units"):
            found = opened.connection.execute(f"SELECT {names} FROM {view}").fetchall()
            assert found == [(*AMOUNTS.values(), Decimal("4321.000015"))], view

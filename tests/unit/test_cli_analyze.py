"""otlp-analyze over a real lake: what it prints, what it refuses; reading needs no right to write."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest
from click.testing import CliRunner, Result

from analyzers import registry
from collector.cli.analyze import main
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from tests.calls_table import call, lake_with_calls

MARCH = ("--since", "2026-03-01", "--until", "2026-04-01")
EVIL = '=HYPERLINK("http://evil","x")'


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three calls in March 2026 (two api, one of a plan nobody declared) and one in April."""
    return lake_with_calls(
        tmp_path_factory.mktemp("lake") / "data",
        call(cost_usd=Decimal("0.000000000001"), service_name=EVIL, lead="7"),
        call(cost_usd=Decimal("12.5"), service_name="web", duration_ns=1_234_567_890, lead="7"),
        call(
            cost_usd=Decimal(100),
            service_name="web",
            pricing_mode="unknown",
            plan_tier="unknown",
            request_model="claude",
            billing_account="anthropic",
        ),
        call(start_time=dt.datetime(2026, 4, 1), service_name="late"),
        dimensions=("lead",),
    )


def analyze(data_dir: Path, *arguments: str) -> Result:
    """Where it cannot write, so that nothing is recorded: that takes as long as all the rest."""
    with mock.patch("os.access", lambda path, mode: mode != os.W_OK):
        return analyze_and_record(data_dir, *arguments)


def analyze_and_record(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--data-dir", str(data_dir)])


def printed_json(data_dir: Path, *arguments: str) -> Any:
    result = analyze(data_dir, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout, parse_float=Decimal)


def recorded(data_dir: Path) -> list[tuple[Any, ...]]:
    with Lake.open(data_dir, read_only=True) as lake:
        return lake.connection.execute(
            "SELECT analyzer, trigger, status, window_start, window_end, settings, result FROM runs "
            "ORDER BY started_at"
        ).fetchall()


def test_json_is_an_array_with_one_object_per_analyzer(data_dir: Path):
    (report,) = printed_json(data_dir, "cost", *MARCH, "--by", "service")
    assert report["analyzer"] == "cost"
    assert report["window"] == {
        "start": "2026-03-01T00:00:00Z",
        "end": "2026-04-01T00:00:00Z",
        "timezone": "UTC",
    }
    spend = {row["service"]: row["spend_usd"] for row in report["rows"] if row["pricing_mode"] == "api"}
    assert spend == {"web": Decimal("12.5"), EVIL: Decimal("0.000000000001")}
    assert {row["pricing_mode"]: row["calls"] for row in report["totals"]} == {"api": 2, "unknown": 1}
    assert {column["name"] for column in report["columns"]} == set(report["rows"][0])
    assert report["findings"] == []


def test_without_a_name_every_analyzer_runs(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    """Of those that are registered, here two."""
    two = {name: registry.get(name) for name in ("unit-cost", "cost")}
    monkeypatch.setattr(registry, "_registered", two)
    assert [report["analyzer"] for report in printed_json(data_dir, *MARCH)] == ["cost", "unit-cost"]


def test_by_can_be_repeated_and_separated_by_commas(data_dir: Path):
    (repeated,) = printed_json(data_dir, "cost", *MARCH, "--by", "day", "--by", "lead")
    (separated,) = printed_json(data_dir, "cost", *MARCH, "--by", "day,lead")
    assert repeated == separated
    assert [(row["day"], row["lead"], row["calls"]) for row in repeated["rows"]] == [
        ("2026-03-10", "7", 2),
        ("2026-03-10", None, 1),
    ]


def test_the_settings_of_unit_cost_are_options(data_dir: Path, tmp_path: Path):
    """Both services with spend cost less than 12.50 and a cent; web's unknown plan is judged apart. Half of the
    budget of 25 USD and a bit is left: for one more unit of the mean of 6.25, and one more."""
    options = ("--by", "lead", "--unit-budget", "12.51", "--budget", "25.01", "--top", "1", "--short-ids")
    (report,) = printed_json(data_dir, "unit-cost", *MARCH, *options)
    (api,) = (row for row in report["totals"] if row["pricing_mode"] == "api")
    assert (api["all_under_budget"], api["units"], api["headroom_units"]) == (True, 1, 1)
    config = tmp_path / "collector.yaml"
    config.write_text(
        "analyzers: {unit-cost: {by: lead, unit_budget: 12.51, budget: 25.01, top: 1, short_ids: true}}\n"
    )
    (configured,) = printed_json(data_dir, "unit-cost", *MARCH, "--config", str(config))
    assert configured == report


def test_unit_cost_is_a_table_whose_notes_tell_what_a_unit_costs(data_dir: Path):
    printed = analyze(data_dir, "unit-cost", *MARCH, "--by", "service", "--unit-budget", "1").stdout
    assert "spend per service, of 2 with a known cost: mean 6.250000 USD" in printed
    assert "spend: every service within the budget of 1.000000 USD: no" in printed
    assert [line.split()[0] for line in printed.splitlines() if line.startswith(("web", "TOTAL"))] == [
        "web",
        "TOTAL",
        "web",
        "TOTAL",
    ]


def test_the_time_zone_is_an_option(data_dir: Path):
    """Noon UTC on the 10th is the 11th in Auckland; its April begins half a day before UTC's."""
    (report,) = printed_json(data_dir, "cost", *MARCH, "--by", "day", "--timezone", "Pacific/Auckland")
    assert {row["day"] for row in report["rows"]} == {"2026-03-11"}
    assert report["window"]["end"] == "2026-03-31T11:00:00Z"


def test_csv_has_rows_alone_and_runs_no_formula(data_dir: Path):
    """Every digit, an empty cell for NULL, no total that a sum would count twice, notes on stderr."""
    result = analyze(data_dir, "cost", *MARCH, "--by", "service", "--csv")
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 3
    evil = next(row for row in rows if "HYPERLINK" in row["service"])
    assert evil["service"] == "'" + EVIL
    assert Decimal(evil["spend_usd"]) == Decimal("0.000000000001")
    assert "e" not in evil["spend_usd"].lower()
    assert (evil["list_price_usd"], evil["cache_share"]) == ("", "")
    assert "a declared plan: 1" in result.stderr
    assert "note" not in result.stdout


def test_the_table_shows_modes_apart_with_totals_notes_and_no_empty_columns(data_dir: Path):
    result = analyze(data_dir, "cost", *MARCH)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert result.stdout.startswith("cost, 2026-03-01 00:00 to 2026-04-01 00:00 (UTC)")
    told = [line for line in lines if line[:1] == ["TOTAL"] or line[:2] == ["pricing", "mode"]]
    assert [line[:3] if line[0] == "pricing" else line[:2] for line in told] == [
        ["pricing", "mode", "api"],
        ["TOTAL", "2"],
        ["pricing", "mode", "unknown"],
        ["TOTAL", "1"],
    ]
    assert "list price, plan not declared, USD" in result.stdout
    assert "implied API value" not in result.stdout
    assert "reasoning" not in result.stdout
    assert "calls without cost" not in result.stdout
    assert 'accounts: [{name: "anthropic", plan_tier: api}]' in result.stdout


def test_an_amount_too_small_to_show_is_not_shown_as_nothing(data_dir: Path):
    assert "<0.000001" in analyze(data_dir, "cost", *MARCH, "--by", "service").stdout


def test_telemetry_cannot_drive_the_terminal(tmp_path: Path):
    lake = lake_with_calls(tmp_path / "data", call(service_name="\x1b]0;owned\x07"))
    assert "\x1b" not in analyze(lake, "cost", *MARCH, "--by", "service").stdout


@pytest.mark.parametrize("output", [(), ("--json",), ("--csv",)])
def test_an_empty_window_is_no_failure_and_says_so(data_dir: Path, output: tuple[str, ...]):
    result = analyze(data_dir, "cost", "--since", "2020-01-01", "--until", "2020-01-02", *output)
    assert result.exit_code == 0
    assert "no calls from 2020-01-01 00:00 to 2020-01-02 00:00 (UTC)" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("costs",), "no analyzer 'costs'; did you mean cost? there are: "),
        (("cost", "--since", "soon"), "'soon' is not a time; allowed: a length of time such as"),
        (("cost", "--until", "later"), "'later' is not a time"),
        (("cost", "--since", "2026-04-01", "--until", "2026-03-01"), "ends (2026-03-01T00:00:00Z) before"),
        (("cost", "--by", "colour"), "no dimension 'colour'; allowed: agent, billing_account, day"),
        (("cost", "--top", "3"), "--top: cost has no such setting"),
        (("unit-cost", "--by", "service,day"), "`by` is one dimension or one attribute"),
        (("unit-cost", "--unit-budget", "cheap"), "`unit_budget` is an amount in USD from 0, such as 0.10"),
        (("cost", "--json", "--csv"), "--json and --csv exclude each other"),
        (("cost", "--timezone", "Mars/Olympus"), "Mars/Olympus"),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_code_2(
    data_dir: Path, arguments: tuple[str, ...], message: str
):
    result = analyze(data_dir, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_missing_lake_is_one_line(tmp_path: Path):
    result = analyze(tmp_path, "cost")
    assert result.exit_code == 2
    assert f"there is no lake in {tmp_path}" in result.stderr


def test_the_list_needs_no_lake(tmp_path: Path):
    assert "cost" in analyze(tmp_path, "--list").stdout
    (cost,) = (
        entry for entry in json.loads(analyze(tmp_path, "--list", "--json").stdout) if entry["name"] == "cost"
    )
    assert cost["settings"] == [
        {"name": "by", "default": ["model"], "help": "dimensions to group by, in this order"}
    ]
    assert "cache share" in cost["help"]


def test_settings_of_the_configuration_are_defaults(data_dir: Path, tmp_path: Path):
    config = tmp_path / "collector.yaml"
    config.write_text("analyzers: {cost: {by: [service, day]}}\n")
    (report,) = printed_json(data_dir, "cost", *MARCH, "--config", str(config))
    assert [column["name"] for column in report["columns"][:2]] == ["service", "day"]
    (report,) = printed_json(data_dir, "cost", *MARCH, "--config", str(config), "--by", "model")
    assert report["columns"][0]["name"] == "model"


def test_a_run_by_hand_is_recorded_with_what_it_printed(tmp_path: Path):
    lake = lake_with_calls(tmp_path / "data", call(cost_usd=Decimal("0.1")))
    result = analyze_and_record(lake, "cost", *MARCH, "--by", "model", "--json")
    printed = json.loads(result.stdout, parse_float=Decimal)
    ((analyzer, trigger, status, start, end, settings, result),) = recorded(lake)
    assert (analyzer, trigger, status) == ("cost", "cli", "ok")
    assert (start, end) == (dt.datetime(2026, 3, 1), dt.datetime(2026, 4, 1))
    assert json.loads(settings) == {"by": ["model"]}
    assert json.loads(result, parse_float=Decimal) == printed[0]


def test_who_cannot_write_gets_the_figures_all_the_same(tmp_path: Path):
    """The directory is not writable: nothing is recorded, nothing is said, nothing fails."""
    lake = lake_with_calls(tmp_path / "data", call())
    result = analyze(lake, "cost", *MARCH)
    assert (result.exit_code, result.stderr) == (0, "")
    assert recorded(lake) == []


def test_a_lake_locked_by_a_long_writer_does_not_fail_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lake = lake_with_calls(tmp_path / "data", call())
    monkeypatch.setattr("collector.runs.LOCK_SECONDS", 0.05)
    with writer_lock(lake):
        result = analyze_and_record(lake, "cost", *MARCH)
    assert result.exit_code == 0
    assert "this run was not recorded" in result.stderr


def test_a_damaged_analyzer_is_one_line(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    def explode(*arguments: Any) -> None:
        raise duckdb.OutOfMemoryException("no room")

    monkeypatch.setattr("analyzers.registry.Analyzer.run", explode)
    result = analyze(data_dir, "cost", *MARCH)
    assert result.exit_code == 2
    assert result.stderr == "Error: cost: OutOfMemoryException: no room\n"

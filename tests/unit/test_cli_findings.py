"""otlp-analyze's findings as people and programs get them: printed, compared, recorded, and as an exit code."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from analyzers import registry
from analyzers.finding import CLAIMS, Candidate, Finding, Report
from analyzers.honest import Amount
from collector.cli.analyze import main
from collector.store.lake import Lake
from tests.calls_table import call, lake_with_calls

# Fourteen days with a call of each mode, and fourteen before them with one that is half as dear.
MARCH = ("--since", "2026-03-15", "--until", "2026-03-29")
DAYS = 14


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    days = [dt.datetime(2026, 3, 1, 12) + n * dt.timedelta(days=1) for n in range(2 * DAYS)]
    return lake_with_calls(
        tmp_path_factory.mktemp("lake") / "data",
        *(
            call(
                call_id=f"{mode}-{n}",
                start_time=day,
                pricing_mode=mode,
                cost_usd=Decimal(usd) * (1 + n // DAYS),
            )
            for n, day in enumerate(days)
            for mode, usd in (("api", 1), ("subscription", 3))
        ),
    )


def candidate(mode: str) -> Candidate:
    return Candidate(
        key=mode,
        kind="waste",
        dimension={"agent": mode},
        pricing_mode=mode,
        title=f"calls of {mode} repeat",
        method="half of each call",
        action="keep what was answered",
        caveats=(f"a caveat of {mode}",),
    )


def wasteful(*_: Any) -> Report:
    """Half of every call of both modes could be saved; and a fact."""
    rows = [
        (mode, f"{mode}-{n}", Decimal(usd), Decimal(usd), 55)
        for n in range(2 * DAYS)
        for mode, usd in (("api", 1), ("subscription", 3))
    ]
    claims = pa.Table.from_pylist([dict(zip(CLAIMS.names, row, strict=True)) for row in rows], schema=CLAIMS)
    fact = Finding(
        "fact-1",
        "a <b>fact</b> of @everyone | \x1b[31m",
        {
            "so_much": Amount("api", Decimal("1234.5")),
            "calls": 7000,
            "none_known": None,
            "cache_share": 0.25,
            "models": [{"model": "m", "share": 0.5, "cost": Amount("api", Decimal(2))}],
        },
        ("it is only made up",),
        examples=("call-1", "call-2"),
        kind="exceeded",
    )
    return Report(
        (), (), findings=(fact,), candidates=(candidate("api"), candidate("subscription")), claims=claims
    )


def quiet(*_: Any) -> Report:
    return Report((), (), findings=(Finding("w-1", "nearly", {}, ("guess",), kind="warning"),))


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a function the analyzer of that name, for the test alone."""

    def add(name: str, function: Any) -> None:
        registry.discover()
        monkeypatch.setitem(registry._registered, name, registry.Analyzer(name, "made up", (), function))

    return add


def analyze(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--data-dir", str(data_dir)])


@pytest.fixture
def read_only() -> Iterator[None]:
    """Nothing can be written, so nothing is recorded: that takes as long as all the rest."""
    with mock.patch("os.access", lambda path, mode: mode != os.W_OK):
        yield


def printed(data_dir: Path, *arguments: str) -> Any:
    result = analyze(data_dir, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout, parse_float=Decimal)


@pytest.mark.usefixtures("read_only")
def test_a_finding_is_printed_whole_with_modes_apart_and_facts_first(data_dir: Path, install: Install):
    """In the window a call costs 2 and 6 USD: 14 and 42 USD could be saved; a month has 30.436875 / 14 times that."""
    install("waste", wasteful)
    text = analyze(data_dir, "waste", *MARCH).stdout
    fact, spend, implied = text.split("\nwhat ")[1:]
    assert fact.startswith("is the case\n")
    assert (
        "evidence: so much spend: 1,234.500000 USD; calls 7,000; none known unknown; cache share 25.0%;"
        " models (model m, share 50.0%, cost spend: 2.000000 USD)\n"
    ) in fact
    assert "note: it is only made up" in fact
    assert "calls: call-1, call-2" in fact
    assert "\x1b" not in text
    assert spend.startswith("could be saved: spend\n")
    assert "finding: calls of api repeat\n  about: agent api\n  saves in this window: " in spend
    assert "spend: 30.44 USD, with 90% confidence" in spend
    assert "frees in a month: 1,674 tokens, 25.0% of this window's tokens" in spend
    assert "how: half of each call" in spend
    assert "chance: p = 0.0005 that" in spend
    assert "note: a caveat of api\n  what to do: keep what was answered" in spend
    assert implied.startswith("could be saved: implied API value\n")
    assert "implied API value (beside the fee): 91.31 USD" in implied


@pytest.mark.usefixtures("read_only")
def test_markdown_has_what_the_table_has_and_nothing_in_it_is_markup(data_dir: Path, install: Install):
    install("waste", wasteful)
    text = analyze(data_dir, "waste", "cost", *MARCH, "--markdown").stdout
    assert text.startswith("## waste, 2026-03-15 00:00 to 2026-03-29 00:00 (UTC)\n")
    assert r"- **a \<b\>fact\</b\> of @" + "\u200b" + r"everyone \| \\x1b\[31m**" in text
    assert "  - note: a caveat of subscription\n  - what to do: keep what was answered\n" in text
    assert "### pricing mode api\n\n| model | calls |" in text
    assert "\n|---|--:|" in text
    assert "| TOTAL | 14 | 1400 | 140 | 28.000000 |" in text


@pytest.mark.usefixtures("read_only")
def test_a_comparison_comes_last_and_as_an_object_of_its_own(data_dir: Path):
    """As many calls, twice as dear: all of the change is what a token costs."""
    cost, comparison = printed(data_dir, "cost", *MARCH, "--compare", "previous")
    assert (cost["analyzer"], comparison["analyzer"]) == ("cost", "compare")
    assert (comparison["baseline"]["start"], comparison["baseline"]["end"]) == (
        "2026-03-01T00:00:00Z",
        "2026-03-15T00:00:00Z",
    )
    (api,) = (total for total in comparison["totals"] if total["pricing_mode"] == "api")
    assert (api["spend_before_usd"], api["spend_after_usd"], api["spend_change_usd"]) == (14, 28, 14)
    (note,) = (note for note in comparison["notes"] if note.startswith("spend: +"))
    assert note == (
        "spend: +14.000000 USD, which is +0.000000 by the number of calls, +0.000000 by other kinds of call,"
        " +14.000000 by what a call of the same kind costs (of that +0.000000 by its tokens, +14.000000 by what a"
        " token costs)"
    )


@pytest.mark.usefixtures("read_only")
def test_a_comparison_can_be_an_analyzer_among_others(data_dir: Path):
    asked = printed(data_dir, "cost", *MARCH, "--compare", "2026-03-01:2026-03-15")[1]
    named = printed(data_dir, "compare", *MARCH)[0]
    assert asked == named


def test_the_latest_results_are_printed_without_computing(
    tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
):
    """Of two runs the later one; of another analyzer its own; what both could save is not to be added."""
    lake = lake_with_calls(
        tmp_path / "data",
        *(
            call(
                call_id=f"api-{n}",
                cost_usd=Decimal(2),
                start_time=dt.datetime(2026, 3, 1, 12) + n * dt.timedelta(days=1),
            )
            for n in range(2 * DAYS)
        ),
    )
    install("waste", wasteful)
    install("more-waste", wasteful)
    analyze(lake, "waste", "--since", "2026-03-01", "--until", "2026-03-08")
    (computed,) = printed(lake, "waste", *MARCH)
    printed(lake, "more-waste", *MARCH)
    install("waste", lambda *_: pytest.fail("nothing is to be computed"))
    found = {result["analyzer"]: result for result in printed(lake, "--last")}
    assert set(found) == {"waste", "more-waste"}
    again = dict(found["waste"])
    assert again.pop("recorded")["trigger"] == "cli"
    assert again.pop("notes")[-1].startswith("computed at different times")
    computed.pop("notes")
    assert again == computed
    text = analyze(lake, "waste", "--last").stdout
    assert text.startswith("waste, 2026-03-15 00:00 to 2026-03-29 00:00 (UTC); recorded 20")
    assert "note: a caveat of api" in text


def test_where_nothing_is_recorded_that_is_said(tmp_path: Path):
    lake = lake_with_calls(tmp_path / "data", call())
    assert analyze(lake, "--last").stdout == "note: no run of any analyzer is recorded\n"
    assert analyze(lake, "--last", "cost").stdout == "note: no run of cost is recorded\n"
    assert printed(lake, "--last", "cost") == []
    assert analyze(lake, "--runs").stdout.startswith("no runs began from ")


def test_runs_are_listed_latest_first_with_what_became_of_them(tmp_path: Path, install: Install):
    """A run with one finding, and a scheduled one that failed; one of a month ago is out of sight."""
    lake = lake_with_calls(tmp_path / "data", call())
    install("quiet", quiet)
    analyze(lake, "quiet", *MARCH)
    with Lake.open(lake) as opened:
        opened.connection.execute(
            "INSERT INTO lake.runs (run_id, analyzer, trigger, started_at, finished_at, status, error) VALUES"
            " ('f', 'cost', 'schedule', now()::TIMESTAMP - INTERVAL 1 HOUR,"
            " now()::TIMESTAMP - INTERVAL 1 HOUR + INTERVAL 90 SECOND, 'failed', 'no room'),"
            " ('o', 'cost', 'schedule', now()::TIMESTAMP - INTERVAL 30 DAY, NULL, 'ok', NULL)"
        )
    by_hand, failed = printed(lake, "--runs")
    assert (by_hand["analyzer"], by_hand["status"], by_hand["findings"], by_hand["error"]) == (
        "quiet",
        "ok",
        1,
        None,
    )
    assert (by_hand["window_start"], by_hand["trigger"]) == ("2026-03-15T00:00:00Z", "cli")
    assert (failed["status"], failed["seconds"], failed["error"], failed["findings"]) == (
        "failed",
        90,
        "no room",
        0,
    )
    assert [run["run_id"] for run in printed(lake, "--runs", "cost", "--since", "60d")] == ["f", "o"]
    assert "no room" in analyze(lake, "--runs").stdout


@pytest.mark.parametrize(
    ("name", "function", "fail_on", "code"),
    [
        ("waste", wasteful, "finding", 1),
        ("quiet", quiet, "finding", 1),
        ("quiet", lambda *_: Report((), ()), "finding", 0),
        ("budget", wasteful, "budget", 1),
        ("budget", quiet, "budget", 0),
    ],
)
def test_fail_on_is_an_exit_code_after_everything_is_printed(
    data_dir: Path, install: Install, name: str, function: Any, fail_on: str, code: int
):
    """A budget that is nearly used up is a finding, and no reason to fail where only exceeded ones are."""
    install(name, function)
    for more in ((), ("--last",)):
        window = () if more else MARCH
        result = analyze(data_dir, name, *window, *more, "--fail-on", fail_on)
        assert result.exit_code == code, result.output
        assert result.stdout.startswith(f"{name}, 2026-03-15")
        assert result.stderr.startswith(f"Error: --fail-on {fail_on}: ") == bool(code)
        assert "\x1b" not in result.stderr


@pytest.mark.usefixtures("read_only")
def test_an_analyzer_that_fails_counts_before_what_was_found(data_dir: Path, install: Install):
    def explode(*_: Any) -> Report:
        raise duckdb.OutOfMemoryException("no room")

    install("broken", explode)
    install("waste", wasteful)
    result = analyze(data_dir, "waste", "broken", *MARCH, "--fail-on", "finding")
    assert result.exit_code == 2
    assert "broken: OutOfMemoryException: no room" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("cost", "--compare", "sideways"),
            "compare: `baseline`: 'sideways' is nothing to compare with; allowed: ",
        ),
        (("cost", "--compare", "2026-03-02:2026-03-01"), "compare: `baseline`: the window ends"),
        (("cost", "--compare", "previous", "--csv"), "--csv prints one analyzer"),
        (("cost", "--csv", "--markdown"), "--csv and --markdown exclude each other"),
        (("--last", "--runs"), "--last and --runs exclude each other"),
        (("--last", "--since", "3d"), "without --since"),
        (("--last", "--compare", "previous"), "--compare: --last and --runs compute nothing"),
        (("--last", "costs"), "no analyzer 'costs'"),
        (("cost", "--fail-on", "budget"), "the analyzer budget is to run too: name it"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_exit_code_2(
    data_dir: Path, arguments: tuple[str, ...], message: str
):
    result = analyze(data_dir, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""

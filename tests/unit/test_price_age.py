"""Old prices are told wherever money is shown."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from analyzers import price_age, registry
from analyzers.window import Window
from collector.cli import doctor, status
from collector.store.lake import Lake
from tests.store_support import call, store, traces

TODAY = dt.datetime.now(dt.UTC).date()
NOTE = "the prices are 45 days old"
WINDOW = Window(dt.datetime(2026, 3, 1, tzinfo=dt.UTC), dt.datetime(2026, 4, 1, tzinfo=dt.UTC))
ANALYZERS = ("cost", "unit-cost", "accounts")


@pytest.fixture(scope="module")
def old_prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("old") / "data"
    with store(data_dir) as opened:
        opened.load(traces(call(1, 1, attributes={"plan_tier": "api"})))
        opened.lake.connection.execute(
            "UPDATE lake.price_snapshots SET data_as_of = ?", [TODAY - dt.timedelta(days=45)]
        )
    return data_dir


@pytest.mark.parametrize(("days", "is_old"), [(0, False), (30, False), (31, True)])
def test_prices_are_old_after_thirty_days(days: int, is_old: bool) -> None:
    said = price_age.note("genai-prices", TODAY - dt.timedelta(days=days), TODAY)
    assert (said is not None) == is_old


def test_a_list_without_a_date_is_not_called_old() -> None:
    assert price_age.note("file:mine.json", None, TODAY) is None


@pytest.mark.parametrize(
    ("source", "advice"),
    [("genai-prices", "pip install --upgrade genai-prices"), ("file:mine.json", "prices update --from FILE")],
)
def test_the_advice_is_for_the_source(source: str, advice: str) -> None:
    said = price_age.note(source, dt.date(2020, 1, 1), TODAY)
    assert said is not None
    assert advice in said


@pytest.mark.parametrize("name", ANALYZERS)
def test_a_report_with_money_says_so(old_prices: Path, name: str) -> None:
    analyzer = registry.get(name)
    facts: dict[str, object] = dict.fromkeys(analyzer.needs, ())
    with Lake.open(old_prices, read_only=True, threads=1) as lake:
        report = analyzer.bind(facts).run(
            lake.connection, WINDOW, {"by": "user"} if name == "unit-cost" else {}
        )
        assert report.has_money()
        assert NOTE in report.notes[-1]
        empty = Window(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2020, 2, 1, tzinfo=dt.UTC))
        quiet = registry.get("cost").run(lake.connection, empty, {})
        assert not any(NOTE in note for note in quiet.notes)


def run(command: click.Command, arguments: Sequence[str], data_dir: Path) -> str:
    answer = CliRunner().invoke(command, [*arguments, "--data-dir", str(data_dir)])
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_doctor_and_status_say_so(old_prices: Path) -> None:
    checks = json.loads(run(doctor.command, ["--json"], old_prices))["checks"]
    (prices,) = (check for check in checks if check["name"] == "prices")
    assert (prices["level"], "45 days old" in prices["found"]) == ("warn", True)
    assert "otlp-collector prices update" in prices["advice"]
    assert "45 days old: renew them with" in run(status.command, [], old_prices)

"""prices update, show and list: which list is active, what a model costs by it, and what the configuration adds."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.cli.prices import command
from collector.store.lake import Lake
from collector.store.prices import history
from semconv.prices import installed
from tests.price_support import price_file
from tests.store_support import copy_of, lay_empty_lake

PRICES = """
prices:
  - {name: negotiated, provider: openai, model: gpt-4.1*, billing_account: acme, discount: 12.5%, until: 2026-07-01}
  - {name: ours, provider: vllm, model: my-model, gpu_hour: {usd: 2}}
"""


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("lake") / "data"
    lay_empty_lake(data_dir)
    return data_dir


@pytest.fixture
def data_dir(laid: Path, tmp_path: Path) -> Path:
    return copy_of(laid, tmp_path / "data")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "collector.yaml"
    path.write_text(PRICES)
    return path


def prices(data_dir: Path, *arguments: str | Path) -> tuple[int, str, str]:
    answer = CliRunner().invoke(command, [*map(str, arguments), "--data-dir", str(data_dir)])
    return answer.exit_code, answer.stdout, answer.stderr


def active(data_dir: Path) -> str:
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        return history(lake.connection)[-1].source


def test_the_command_takes_a_file_and_tells_what_changed(data_dir: Path, tmp_path: Path) -> None:
    file = price_file(tmp_path, input_mtok="10", output_mtok="20")
    code, out, err = prices(data_dir, "update", "--from", file, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    models = {f"{sheet.provider}/{sheet.model}" for sheet in installed().sheets}
    assert (told["source"], told["prices"], told["models"], told["age_days"]) == (
        "file:prices.json",
        2,
        1,
        None,
    )
    assert (told["was_active"], told["added"], told["changed"]) == (False, [], ["openai/gpt-4.1-mini"])
    assert set(told["removed"]) == models - {"openai/gpt-4.1-mini"}
    assert active(data_dir) == "file:prices.json"


def test_an_update_goes_back_to_the_package(data_dir: Path, tmp_path: Path) -> None:
    prices(data_dir, "update", "--from", price_file(tmp_path, model="gpt-99", input_mtok="1"))
    code, out, _ = prices(data_dir, "update")
    assert code == 0
    as_of = installed().data_as_of
    assert as_of is not None
    age = (dt.datetime.now(dt.UTC).date() - as_of).days
    assert f"data as of {as_of} ({age} days old)" in out
    assert "removed: 1 (openai/gpt-99)" in out
    assert "more)" in out
    assert "otlp-collector reprice --dry-run" in out
    assert active(data_dir) == "genai-prices"
    assert "It is the active list already." in prices(data_dir, "update")[1]


def test_a_price_that_is_written_otherwise_is_the_same(data_dir: Path, tmp_path: Path) -> None:
    changed = []
    for input_mtok in ("1", "1.00", "1.01"):
        file = price_file(tmp_path, model="gpt-99", input_mtok=input_mtok)
        changed.append(json.loads(prices(data_dir, "update", "--from", file, "--json")[1])["changed"])
    assert changed == [[], [], ["openai/gpt-99"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("{", "not JSON"), ("[]", "no provider with a model"), ('{"a": 1}', "a list")],
)
def test_a_file_that_is_no_price_list_is_refused(
    data_dir: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "bad.json"
    if content is not None:
        file.write_text(content)
    code, _, err = prices(data_dir, "update", "--from", file)
    assert code == 1
    assert message in err
    assert active(data_dir) == "genai-prices"


def test_a_model_is_shown_as_a_call_would_be_priced(data_dir: Path, config: Path) -> None:
    """By the clauses of the list: a dated id, and one with a gateway's path, mean the same model."""
    for model in ("gpt-4.1-mini-2025-04-14", "openai/gpt-4.1-mini"):
        code, out, _ = prices(data_dir, "show", model, "--config", config, "--json")
        told = json.loads(out)
        assert (code, told["provider"], told["priced_as"]) == (0, "openai", "gpt-4.1-mini")
        standard = {row["unit"]: row["price_usd"] for row in told["prices"] if row["variant"] == "standard"}
        assert (standard["input_mtok"], standard["output_mtok"]) == (0.4, 1.6)
        assert [override["name"] for override in told["overrides"]] == ["negotiated"]


def test_what_holds_on_a_day(data_dir: Path, config: Path) -> None:
    """The override ends with June; `until` is its first day without it."""
    names = {}
    for day in ("2026-06-30", "2026-07-01"):
        told = json.loads(prices(data_dir, "show", "gpt-4.1", "--at", day, "--config", config, "--json")[1])
        names[day] = [override["name"] for override in told["overrides"]]
        assert all(row["valid_from"] is None or row["valid_from"] <= day for row in told["prices"])
    assert names == {"2026-06-30": ["negotiated"], "2026-07-01": []}


def test_a_model_that_only_the_configuration_has(data_dir: Path, config: Path) -> None:
    code, out, _ = prices(data_dir, "show", "my-model", "--provider", "vllm", "--config", config)
    assert code == 0
    assert "my-model is not in the list" in out
    assert "2 USD for an hour of a call" in out


def test_an_unknown_model_has_the_nearest_names(data_dir: Path) -> None:
    code, out, err = prices(data_dir, "show", "gpt-4.1-minni", "--provider", "openai")
    assert (code, out) == (1, "")
    assert "no price for 'gpt-4.1-minni' at openai" in err
    assert "openai/gpt-4.1-mini" in err


def test_without_a_lake_the_installed_list_is_shown(tmp_path: Path) -> None:
    code, out, _ = prices(tmp_path / "none", "show", "gpt-4.1")
    assert code == 0
    assert "gpt-4.1 is openai/gpt-4.1 of the list" in out
    assert not (tmp_path / "none").exists()


def test_the_list_has_every_model_that_has_a_price_today(data_dir: Path) -> None:
    code, out, _ = prices(data_dir, "list", "--json")
    rows = json.loads(out)
    today = dt.datetime.now(dt.UTC).date()
    known = {(sheet.provider, sheet.model) for sheet in installed().sheets if sheet.is_on(today)}
    assert code == 0
    assert {(row["provider"], row["model"]) for row in rows} == known
    (mini,) = (row for row in rows if (row["provider"], row["model"]) == ("openai", "gpt-4.1-mini"))
    assert (mini["input_mtok_usd"], mini["cache_read_mtok_usd"], mini["cache_write_mtok_usd"]) == (
        0.4,
        0.1,
        None,
    )


def test_a_provider_goes_by_either_name(data_dir: Path) -> None:
    ours, theirs = (prices(data_dir, "list", "--provider", name) for name in ("aws.bedrock", "aws"))
    assert ours == theirs
    assert ours[0] == 0
    assert "amazon.nova" in ours[1]
    code, _, err = prices(data_dir, "list", "--provider", "nobody")
    assert code == 1
    assert "it has: " in err


def test_a_day_that_is_none(data_dir: Path) -> None:
    code, _, err = prices(data_dir, "show", "gpt-4.1", "--at", "soon")
    assert (code, "'soon' is not a date" in err) == (2, True)

"""The command: what it takes, what it prints, and that nothing can stop it halfway."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collector.cli.reprice import command
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from collector.store.prices import activate
from semconv.prices import installed, read_file
from tests.price_support import price_file
from tests.store_support import call, copy_of, fingerprint, store, traces

CALLS = "SELECT * FROM calls ORDER BY call_id"
BACK_DATE = """
    UPDATE lake.price_snapshots SET activated_at = TIMESTAMP '2026-02-03 04:05:06' WHERE source = 'genai-prices'
"""
DAY = 86_400_000_000_000
# Dies without a word between the step named and the next.
DYING = """
import os, signal, sys
from collector.cli.main import main
from collector.store import durability, reprice_files
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if sys.argv.pop(1) == "register":
    reprice_files.CallFiles.register = die
else:
    durability.DataFiles.sync_new = die
main()
"""


@pytest.fixture(scope="module")
def two_lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two calls at 1,000 and 100 tokens, priced at 0.4 and 1.6 USD a million; a list at 10 and 20 is active since."""
    data_dir = tmp_path_factory.mktemp("lake") / "data"
    with store(data_dir) as opened:
        opened.load(traces(call(1, 1), call(2, 1, at=40 * DAY, attributes={"plan_tier": "api"})))
        activate(
            opened.lake.connection, read_file(price_file(data_dir.parent, input_mtok="10", output_mtok="20"))
        )
    return data_dir


@pytest.fixture
def data_dir(two_lists: Path, tmp_path: Path) -> Path:
    return copy_of(two_lists, tmp_path / "data")


def reprice(data_dir: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """In this process: what starts is the same, and a process takes a second."""
    answer = CliRunner().invoke(command, [*map(str, arguments), "--data-dir", str(data_dir)])
    return answer.exit_code, answer.stdout, answer.stderr


def asked(data_dir: Path, statement: str) -> list[tuple[Any, ...]]:
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        return lake.connection.execute(statement).fetchall()


def costs(data_dir: Path) -> list[float]:
    return [float(cost) for (cost,) in asked(data_dir, "SELECT cost_usd FROM calls ORDER BY start_time")]


def test_the_command_prices_by_the_active_list_and_then_has_nothing_to_do(data_dir: Path) -> None:
    code, out, err = reprice(data_dir, "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["calls"], answer["calls_changed"], answer["dry_run"]) == (2, 2, False)
    assert answer["price_list"]["source"] == "file:prices.json"
    by_mode = {row["pricing_mode"]: row for row in answer["rows"]}
    assert (by_mode["api"]["spend_before_usd"], by_mode["api"]["spend_after_usd"]) == (0.00056, 0.012)
    assert by_mode["api"]["spend_difference_usd"] == 0.01144
    assert by_mode["unknown"]["list_price_after_usd"] == 0.012
    assert by_mode["unknown"]["spend_after_usd"] is None
    assert costs(data_dir) == [0.012, 0.012]
    before = fingerprint(data_dir)
    assert reprice(data_dir)[1].splitlines()[-1] == "0 of 2 calls changed."
    assert fingerprint(data_dir) == before


def test_each_pricing_mode_has_a_table_and_a_total_of_its_own(data_dir: Path) -> None:
    code, out, _ = reprice(data_dir, "--dry-run")
    assert code == 0
    assert out.count("TOTAL") == 2
    assert "pricing mode api" in out
    assert "pricing mode unknown" in out
    assert "otlp-collector renormalize" in out  # how the plan is declared, beside its money
    assert out.splitlines()[-1] == "2 of 2 calls would change; nothing was written."
    assert costs(data_dir) == [0.00056, 0.00056]


def test_a_window_and_the_list_of_then(data_dir: Path) -> None:
    assert reprice(data_dir, "--since", "2026-04-01")[0] == 0
    assert costs(data_dir) == [0.00056, 0.012]
    assert reprice(data_dir, "--snapshot", installed().snapshot_id)[0] == 0
    assert costs(data_dir) == [0.00056, 0.00056]
    with Lake.open(data_dir, threads=1) as lake, writer_lock(data_dir):
        lake.connection.execute(BACK_DATE)
    assert reprice(data_dir)[0] == 0
    assert costs(data_dir) == [0.012, 0.012]
    assert reprice(data_dir, "--as-of", "2026-03-01")[0] == 0
    assert costs(data_dir) == [0.00056, 0.00056]


def test_experiments_write_nothing(data_dir: Path, tmp_path: Path) -> None:
    """Half of 10 and 20 USD makes 0.006; as gpt-4.1-nano a dearer list makes 0.12."""
    before = fingerprint(data_dir)
    half = tmp_path / "half.yaml"
    half.write_text("prices:\n  - {name: n, provider: openai, discount: 50%}\n")
    dearer = price_file(tmp_path, "dearer.json", model="gpt-4.1", input_mtok="100", output_mtok="200")
    for file, after in ((half, 0.006), (dearer, 0.12)):
        code, out, err = reprice(data_dir, "--what-if", file, "--json")
        assert (code, err) == (0, "")
        answer = json.loads(out)
        assert answer["dry_run"]
        assert {row["spend_after_usd"] for row in answer["rows"]} == {after, None}
    assert fingerprint(data_dir) == before


def test_the_prices_of_the_configuration_hold(data_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text("prices: [{name: gift, provider: openai, since: 2026-04-01, free: true}]")
    assert reprice(data_dir, "--config", config)[0] == 0
    assert costs(data_dir) == [0.012, 0.0]
    assert asked(data_dir, "SELECT count(*) FROM calls ANTI JOIN prices USING (price_id)") == [(0,)]


@pytest.mark.parametrize("step", ["register", "sync"])
def test_a_kill_in_the_middle_changes_nothing_and_the_same_command_completes(
    data_dir: Path, step: str
) -> None:
    """Killed with the new files written, and with everything done but the commit."""
    before = asked(data_dir, CALLS)
    killed = subprocess.run(
        [sys.executable, "-c", DYING, step, "reprice", "--data-dir", str(data_dir)],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9
    assert asked(data_dir, CALLS) == before
    assert reprice(data_dir)[0] == 0
    assert costs(data_dir) == [0.012, 0.012]


def test_nothing_there(data_dir: Path) -> None:
    code, out, _ = reprice(data_dir, "--until", "2020-01-01")
    assert (code, out) == (0, "There is no call of that time.\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--snapshot", "nope"], 1, "there is no price list 'nope' in this lake; there are: "),
        (["--as-of", "2001-01-01"], 1, "no price list was active on 2001-01-01; the first one: 20"),
        (["--as-of", "yesterday"], 2, "'yesterday' is not a date such as 2026-03-31"),
        (["--as-of", "2026-01-01", "--snapshot", "x"], 2, "one of --as-of, --snapshot and --what-if"),
        (["--since", "1d", "--until", "2d"], 2, "ends"),
        (["--what-if", "nothing-there.yaml"], 1, "nothing-there.yaml: cannot be read"),
    ],
)
def test_what_cannot_run_says_so_in_one_line(
    data_dir: Path, arguments: list[str], code: int, message: str
) -> None:
    answer = reprice(data_dir, *arguments)
    assert answer[0] == code
    assert message in answer[2]
    assert answer[2].startswith("Error: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("modles: {a: b}", ":1: modles: there is no such key; allowed here: models, prices"),
        ("prices: [{name: a, discount: 15}]", ":1: prices[0].discount: 15 is not allowed"),
        (
            "prices:\n - {name: a, free: true}\n - {name: a, free: true}",
            ":3: 'a' and 'a' hold for the same calls",
        ),
        ("models: {}", "nothing to try"),
        ("models: {gpt*: no-such-model}", "--what-if: nothing has a price for 'no-such-model'"),
        ('[{"id": "openai", "models": [{"id": 5}]}]', "provider openai"),
        ("[1, 2", "not JSON"),
    ],
)
def test_a_bad_experiment_is_refused_with_its_place(
    data_dir: Path, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "what-if"
    file.write_text(content)
    code, _, err = reprice(data_dir, "--what-if", file)
    assert code == 1
    assert message in err


def test_without_a_lake(tmp_path: Path) -> None:
    code, _, err = reprice(tmp_path / "none")
    assert code == 2
    assert "there is no lake" in err
    assert not (tmp_path / "none").exists()

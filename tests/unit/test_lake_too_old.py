"""Commands that only read, on a lake of an older version: a sentence that says what to do, and nothing is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from collector.cli.alerts import command as alerts
from collector.cli.erase import command as erase
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from tests.calls_table import call, lake_with_calls
from tests.store_support import copy_of, fingerprint

ALERTS = """
alerts:
  channels: {stdout: true}
  rules: {daily_spend: [{name: day, above_usd: 1}]}
"""


@pytest.fixture(scope="module")
def old_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the table that version 3 brought."""
    data_dir = lake_with_calls(tmp_path_factory.mktemp("old") / "data", call(user_id="alice"))
    with Lake.open(data_dir) as lake, writer_lock(data_dir):
        lake.connection.execute("DELETE FROM lake.schema_migrations")
        lake.connection.execute("INSERT INTO lake.schema_migrations VALUES (2, now() AT TIME ZONE 'UTC')")
        lake.connection.execute("DROP TABLE lake.alerts")
    return data_dir


@pytest.fixture
def data_dir(old_lake: Path, tmp_path: Path) -> Path:
    return copy_of(old_lake, tmp_path / "data")


@pytest.mark.parametrize("sends", [[], ["--send"]], ids=["look", "send"])
def test_alerts_say_what_brings_the_lake_up_to_date(data_dir: Path, tmp_path: Path, sends: list[str]) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text(ALERTS)
    ended = CliRunner().invoke(alerts, ["--data-dir", str(data_dir), "--config", str(config), *sends])
    assert ended.exit_code == 2
    assert "has schema version 2, and" in ended.output
    assert "start the server, or run" in ended.output
    assert "Catalog Error" not in ended.output


def test_a_dry_run_of_erase_says_it_too_and_writes_nothing(data_dir: Path) -> None:
    before = fingerprint(data_dir)
    ended = CliRunner().invoke(erase, ["--data-dir", str(data_dir), "--user", "alice", "--dry-run"])
    assert ended.exit_code == 2
    assert "nothing was counted: the lake in" in ended.output
    assert "has schema version 2" in ended.output
    assert fingerprint(data_dir) == before


def test_what_it_names_brings_the_lake_up_to_date(data_dir: Path) -> None:
    """A run of `erase`, which writes, is such a command as well."""
    ended = CliRunner().invoke(erase, ["--data-dir", str(data_dir), "--user", "alice", "--now"])
    assert ended.exit_code == 0, ended.output
    ended = CliRunner().invoke(erase, ["--data-dir", str(data_dir), "--user", "alice", "--dry-run"])
    assert ended.exit_code == 0, ended.output

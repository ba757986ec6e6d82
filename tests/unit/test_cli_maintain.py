"""`otlp-collector maintain`: all of it in one run, with a report that is true."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collector.cli.main import main
from collector.store import maintenance
from collector.store.orphans import ORPHAN_SECONDS
from collector.upkeep_state import last_run
from tests.store_support import HOUR, Store, call, copy_of, fingerprint, store, traces

DAY = 24 * HOUR
ROWS = "SELECT * FROM spans ORDER BY trace_id, span_id, start_time"
# Days of retention, counted from today, that the spans of these tests are long past, and that they never are.
PAST, NEVER_PAST = "7", "36500"


@pytest.fixture(scope="module")
def untidy_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files, a twin fifty days later, and an old file that nothing names."""
    data_dir = tmp_path_factory.mktemp("untidy") / "data"
    with store(data_dir) as opened:
        opened.load(traces(call(1, 2)))
        opened.load(traces(call(1, 3)))
        opened.load(traces(call(1, 2, at=50 * DAY)))
    orphan = data_dir / "data/main/spans/year=2026/month=3/ducklake-left.parquet"
    orphan.write_bytes(b"PAR1")
    return data_dir


@pytest.fixture
def untidy(untidy_lake: Path, tmp_path: Path) -> Iterator[Store]:
    data_dir = copy_of(untidy_lake, tmp_path / "data")
    (orphan,) = data_dir.rglob("ducklake-left.parquet")
    then = orphan.stat().st_mtime - ORPHAN_SECONDS - 60
    os.utime(orphan, (then, then))
    with store(data_dir) as opened:
        yield opened


def maintain(data_dir: Path, *arguments: str, code: int = 0) -> str:
    answer = CliRunner().invoke(main, ["maintain", "--data-dir", str(data_dir), *arguments])
    assert answer.exit_code == code, answer.output
    return answer.output


def report(data_dir: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(maintain(data_dir, "--json", *arguments))
    return found


def test_one_run_does_all_and_the_next_finds_nothing(untidy: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guarantee: afterwards one row per identity in few files, the same calls, no stray file, and it is remembered."""
    monkeypatch.setattr(maintenance, "_WORTH_MERGING_TINY", 2)
    before = untidy.ask(ROWS)
    done = report(untidy.data_dir, "--retention-spans", NEVER_PAST)
    assert done["twins"]["spans"] == 1
    (twin,) = done["twins"]["examples"]
    assert (twin["start_time_kept"], twin["start_time"]) == ("2026-03-10T12:00:00Z", "2026-04-29T12:00:00Z")
    assert (done["orphans"], done["missing_files"]) == ({"files": 1, "bytes": 4}, [])
    assert (done["files_merged"], done["retention"]["spans"]) == (4, 0)
    assert done["lake"]["after"]["files"] < done["lake"]["before"]["files"]
    assert untidy.ask(ROWS) == before[:1] + before[2:]
    assert untidy.one("SELECT count(*) FROM calls") == 2
    again = report(untidy.data_dir)
    assert (again["twins"]["spans"], again["files_merged"], again["orphans"]["files"]) == (0, 0, 0)
    assert last_run(untidy.data_dir) is not None


def test_a_dry_run_says_it_and_writes_nothing(untidy: Store) -> None:
    before = fingerprint(untidy.data_dir)
    found = report(untidy.data_dir, "--dry-run", "--retention-spans", PAST)
    assert (found["retention"]["spans"], found["retention"]["calls"], found["twins"]["spans"]) == (3, 3, 1)
    assert (found["orphans"]["files"], found["dry_run"]) == (1, True)
    shown = maintain(untidy.data_dir, "--dry-run", "--retention-spans", PAST)
    assert "spans older than their retention" in shown
    assert "A dry run: nothing was written." in shown
    assert fingerprint(untidy.data_dir) == before


def test_retention_deletes_what_it_is_told_to(untidy: Store) -> None:
    shown = maintain(untidy.data_dir, "--retention-spans", PAST)
    assert "spans older than their retention" in shown
    assert untidy.ask("SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM calls)") == [(0, 0)]
    assert "There was nothing to do." in maintain(untidy.data_dir, "--retention-spans", PAST)


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_without_a_lake_it_says_so_and_creates_none(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert "there is no lake" in maintain(tmp_path / "none", *arguments, code=2)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("days", ["0", "-1", "soon"])
def test_days_that_are_none_are_refused(tmp_path: Path, days: str) -> None:
    assert "retention.spans" in maintain(tmp_path, "--retention-spans", days, code=2)

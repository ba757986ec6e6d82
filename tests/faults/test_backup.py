"""Backups while everything runs, and what is restored of them."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import backup
from collector.store.lake import Lake, LakeMissing
from tests.store_support import call, fingerprint, span, store, traces, traces_body
from tests.support import Collector, ask, run, run_here, running

NOBODY = {"user.id": "anybody"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Sender:
    """One request after the other, each of one span that is a call, until told to stop."""

    def __init__(self, collector: Collector) -> None:
        self.acknowledged: set[int] = set()
        self._url = f"{collector.http}/v1/traces"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _send(self) -> None:
        number = 0
        while not self._stopping.wait(0.005):
            number += 1
            body = traces_body([call(number, number, attributes=NOBODY)])
            request = urllib.request.Request(self._url, body, {"Content-Type": "application/x-protobuf"})
            with urllib.request.urlopen(request, timeout=60):
                self.acknowledged.add(number)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, set[int], set[int]]]:
    """A backup that was made under load; what had been acknowledged before it began, and after it had ended."""
    folder = tmp_path_factory.mktemp("backup")
    with running(folder / "data") as collector, Sender(collector) as sender:
        collector.wait_for_spans(50)
        before = set(sender.acknowledged)
        answer = run("otlp-collector", "backup", folder / "backup", "--data-dir", folder / "data", "--json")
        assert answer.returncode == 0, answer.stderr
        after = set(sender.acknowledged)
        assert json.loads(answer.stdout)["path"] == str(folder / "backup")
    yield folder / "backup", before, after


def test_what_was_acknowledged_before_is_in_what_is_restored_once(
    made: tuple[Path, set[int], set[int]], tmp_path: Path
) -> None:
    """Scenario: a client sends all the while; the backup is restored elsewhere, and a server started there. Guarantee:
    every span acknowledged before the backup is there exactly once, with its call, and none that was sent after it.
    """
    folder, before, after = made
    backup.restore(folder, tmp_path / "restored")
    with running(tmp_path / "restored") as collector:
        collector.wait_for_spans(len(before))
        spans = [int(row["span_id"], 16) for row in collector.sql("SELECT span_id FROM spans")]
        calls = [int(row["span_id"], 16) for row in collector.sql("SELECT span_id FROM calls")]
    assert sorted(spans) == sorted(calls) == sorted(set(spans))
    assert before <= set(spans) <= after | {max(after) + 1}


def test_a_backup_is_private_and_reads_like_a_data_directory(made: tuple[Path, set[int], set[int]]) -> None:
    folder, _, _ = made
    assert folder.stat().st_mode & 0o077 == 0
    totals = json.loads((folder / "backup.json").read_text())["totals"]
    with Lake.open(folder, read_only=True) as lake:
        assert str(ask(lake, "SELECT count(*) AS n FROM calls")[0]["n"]) == totals["calls"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory without a server, and its backup."""
    folder = tmp_path_factory.mktemp("small")
    with store(folder / "data") as lake:
        lake.load(traces(call(1, 1, attributes=NOBODY), span(1, 2, parent=1)))
    backup.back_up(folder / "data", folder / "backup")
    return folder


def test_the_data_directory_and_its_backup_have_nothing_in_common_that_changes(small: Path) -> None:
    """Links only of files that are never changed in place: what is loaded later does not reach the backup."""
    before = fingerprint(small / "backup")
    with store(small / "data") as lake:
        lake.load(traces(call(3, 3, attributes=NOBODY)))
    assert fingerprint(small / "backup") == before
    shared = {
        path.name for path in (small / "backup").rglob("*") if path.is_file() and path.stat().st_nlink > 1
    }
    assert shared
    assert all(name.endswith(".parquet") for name in shared)


@pytest.mark.parametrize("what", ["catalog.sqlite", "parquet", "missing"])
def test_a_damaged_backup_is_named_and_nothing_is_made_of_it(small: Path, tmp_path: Path, what: str) -> None:
    damaged = tmp_path / "damaged"
    backup.restore(small / "backup", damaged)
    (damaged / "backup.json").write_bytes((small / "backup" / "backup.json").read_bytes())
    path = next(damaged.rglob("*.parquet")) if what != "catalog.sqlite" else damaged / what
    content = path.read_bytes()
    path.unlink()  # a link: the backup's own file must stay as it is
    if what != "missing":
        path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    with pytest.raises(backup.BackupError, match=path.name):
        backup.restore(damaged, tmp_path / "restored")
    assert names(tmp_path) == ["damaged"]


def test_nothing_is_overwritten_and_what_cannot_be_made_is_one_line(small: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    for attempt in (
        lambda: backup.back_up(small / "data", tmp_path / "there"),
        lambda: backup.back_up(small / "data", small / "data" / "inside"),
        lambda: backup.back_up(tmp_path / "none", tmp_path / "new"),
        lambda: backup.restore(tmp_path / "there", tmp_path / "new"),
    ):
        with pytest.raises((backup.BackupError, LakeMissing)):
            attempt()
    answer = run_here("otlp-collector", "restore", small / "backup", "--data-dir", tmp_path / "there")
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert names(tmp_path) == ["there"]
    assert names(tmp_path / "there") == ["file"]


def test_what_a_killed_run_left_is_no_backup_and_in_nobodys_way(small: Path, tmp_path: Path) -> None:
    (tmp_path / ".next.partial").mkdir()
    (tmp_path / ".next.partial" / "catalog.sqlite").write_bytes(b"half")
    done = backup.back_up(small / "data", tmp_path / "next")
    assert names(tmp_path) == ["next"]
    assert done.totals["spans"] in {"2", "3"}

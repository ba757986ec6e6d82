"""Files that killed commits leave are removed, and never one that somebody needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store import maintenance, orphans
from collector.store.lock import LockTimeout, writer_lock
from collector.store.maintenance import Maintenance
from tests.store_support import Store, call, store, traces
from tests.support import wait_until

WAITING = "SELECT count(*) FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion"
# Writes a Parquet file inside a transaction under the writer lock, as a commit does, and waits to be killed.
_WRITER = """
import sys, time
from pathlib import Path
from collector.store.lake import Lake
from collector.store.lock import writer_lock
data_dir = Path(sys.argv[1])
with Lake.open(data_dir) as lake, writer_lock(data_dir):
    lake.connection.begin()
    lake.connection.execute("INSERT INTO lake.spans FROM lake.spans")
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Store]:
    with store(tmp_path / "data") as opened:
        opened.load(traces(call(1, 2)))
        yield opened


def parquet(opened: Store) -> set[Path]:
    return set(opened.data_dir.rglob("*.parquet"))


def age(path: Path, seconds: float) -> None:
    before = time.time() - seconds
    os.utime(path, (before, before))


def test_files_of_a_killed_commit_go_once_they_are_old(lake: Store) -> None:
    """Scenario: kill -9 between the writing of a file and the COMMIT. While the writer lives nobody comes past its
    lock; afterwards its file goes, a torn one too, and only after a day.
    """
    known = parquet(lake)
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(lake.data_dir)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"written\n"
    with pytest.raises(LockTimeout), writer_lock(lake.data_dir, 0):
        pass
    writer.kill()
    writer.wait(10)
    writer.stdout.close()
    (left,) = wait_until(lambda: parquet(lake) - known)
    torn = left.with_name("torn.parquet")
    torn.write_bytes(b"PAR1")
    assert orphans.remove(lake.lake).files == ()
    for path in (left, torn):
        age(path, orphans.ORPHAN_SECONDS + 60)
    found = orphans.find(lake.lake)
    assert (set(found.files), found.bytes > 4) == ({left, torn}, True)
    assert set(orphans.remove(lake.lake).files) == {left, torn}
    assert parquet(lake) == known
    assert lake.one("SELECT count(*) FROM calls") == 1


def test_nothing_that_a_reader_may_need_is_an_orphan(lake: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guarantee: files of old states and files that wait for their removal stay, however old."""
    monkeypatch.setattr(maintenance, "_WORTH_MERGING_TINY", 2)
    lake.load(traces(call(1, 3)))
    keeper = Maintenance(lake.lake)
    while keeper.step(thorough=True):
        pass
    for path in parquet(lake):
        age(path, 10 * orphans.ORPHAN_SECONDS)
    before = parquet(lake)
    assert lake.one(WAITING) == 4
    assert orphans.remove(lake.lake) == orphans.Orphans((), 0, ())
    assert parquet(lake) == before


def test_what_a_killed_query_spilled_goes_once_it_is_old(lake: Store) -> None:
    """Guarantee: the folder of somebody at work stays."""
    left, used = lake.data_dir / "tmp-1-left", lake.data_dir / "tmp-2-used"
    for folder in (left, used):
        folder.mkdir()
        (folder / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"spilled")
    age(left / "duckdb_temp_storage_DEFAULT-0.tmp", orphans.ORPHAN_SECONDS + 60)
    assert orphans.remove(lake.lake).bytes == len("spilled")
    assert (left.exists(), used.exists()) == (False, True)


def test_a_file_that_is_gone_is_named(lake: Store) -> None:
    (path,) = lake.data_dir.glob("data/main/spans/**/*.parquet")
    path.unlink()
    assert orphans.find(lake.lake).missing == (str(path.resolve()),)


def test_a_lake_under_another_name_has_no_orphans(lake: Store, tmp_path: Path) -> None:
    """Scenario: the data directory is reached through a symbolic link."""
    link = tmp_path / "link"
    link.symlink_to(lake.data_dir)
    with store(link) as linked:
        linked.load(traces(call(2, 2)))
        for path in parquet(lake):
            age(path, 10 * orphans.ORPHAN_SECONDS)
        assert orphans.remove(linked.lake) == orphans.Orphans((), 0, ())

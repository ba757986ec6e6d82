"""The spool where the disk refuses, breaks, hangs or is taken away; where it can be had, the kernel itself refuses."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector import spool as spool_module
from collector import spool_segment
from collector.spool import Spool, SpoolFailed
from tests.support import until
from tests.unit.spool_support import bodies, files, record, run


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """The kernel refuses to let any file grow past ``size`` bytes (EFBIG), as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_refuses_fails_that_group_only_and_recovers(tmp_path: Path) -> None:
    """The kernel refuses a write half-way: its waiters get SpoolFailed, what was acknowledged before stays
    readable, and with room again appends succeed in a new segment."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        await spool.append(record(b"before"))
        first = spool.durable
        with no_file_beyond(10_000):
            outcomes = await asyncio.gather(
                *(spool.append(record(b"x" * 20_000)) for _ in range(3)), return_exceptions=True
            )
        assert [type(outcome) for outcome in outcomes] == [SpoolFailed] * 3
        assert spool.state == "failed"
        await spool.append(record(b"after"))
        assert spool.state == "ok"
        assert spool.durable[0] > first[0]
        assert bodies(spool.directory, spool.durable) == [b"before", b"after"]
        await spool.close()

    run(scenario())


def test_a_failed_spool_finds_out_by_itself_that_the_disk_is_back(tmp_path: Path) -> None:
    """No append arrives (readiness keeps clients away), and yet the state returns to ok."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        with no_file_beyond(0):
            with pytest.raises(SpoolFailed):
                await spool.append(record())
            await asyncio.sleep(1.2)
            assert spool.state == "failed"
        await until(lambda: spool.state == "ok")
        assert bodies(spool.directory, spool.durable) == []
        await spool.append(record(b"after"))
        assert bodies(spool.directory, spool.durable) == [b"after"]
        await spool.close()

    run(scenario())


def test_a_disk_that_broke_while_nothing_came_is_found_out_when_asked(tmp_path: Path) -> None:
    """check() writes where nothing was written lately, so that ``state`` is true without any request; what it
    writes is no record and takes no room."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        with no_file_beyond(0):
            assert spool.state == "ok"
            await spool.check()
            assert (spool.state, spool.failure) == ("failed", "File too large")
        await until(lambda: spool.state == "ok")
        await spool.append(record(b"after"))
        assert bodies(spool.directory, spool.durable) == [b"after"]
        assert [path.name for path in spool.directory.iterdir() if path.suffix != ".spool"] == []
        await spool.close()

    run(scenario())


def test_a_spool_that_somebody_moved_away_acknowledges_nothing(tmp_path: Path) -> None:
    """The open file would still take bytes, and no loader would find them. Moved back, it goes on by itself."""
    moved = tmp_path / "moved"

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        await spool.append(record(b"before"))
        spool.directory.rename(moved)
        with pytest.raises(SpoolFailed, match="No such file"):
            await spool.append(record(b"lost"))
        spool.recount()
        await asyncio.sleep(1.2)
        assert spool.state == "failed"
        assert str(tmp_path) not in str(spool.failure)
        moved.rename(spool.directory)
        await until(lambda: spool.state == "ok")
        await spool.append(record(b"after"))
        assert bodies(spool.directory, spool.durable) == [b"before", b"after"]
        await spool.close()

    run(scenario())


def test_a_removed_segment_is_noticed_by_the_write_after_it(tmp_path: Path) -> None:
    """Bytes appended to a file without a name are durable for nobody."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        await spool.append(record(b"before"))
        files(spool.directory)[0].unlink()
        with pytest.raises(SpoolFailed):
            await spool.append(record(b"lost"))
        await spool.append(record(b"after"))
        assert bodies(spool.directory, spool.durable) == [b"after"]
        await spool.close()

    run(scenario())


def test_a_disk_that_hangs_is_said_and_forgotten_when_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error ever comes from a hung disk: the state is read off the clock, and asking does not hang."""
    answers = threading.Event()
    monkeypatch.setattr(spool_segment, "_sync_data", lambda _fd: answers.wait(30))
    monkeypatch.setattr(spool_module, "_STALLED_SECONDS", 0.2)

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        append = asyncio.create_task(spool.append(record()))
        await asyncio.sleep(0.05)
        assert spool.state == "ok"
        await until(lambda: spool.state == "stalled")
        await asyncio.wait_for(spool.check(), 2)
        answers.set()
        await append
        assert spool.state == "ok"
        await spool.close()

    run(scenario())


def test_a_failed_sync_closes_the_segment_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one EIO the same file is never synced again: the kernel would report success for lost pages."""
    synced: list[int] = []

    def sync(fd: int) -> None:
        inode = os.fstat(fd).st_ino
        synced.append(inode)
        if len(synced) == 2:
            raise OSError(5, "Input/output error")
        os.fdatasync(fd)

    monkeypatch.setattr(spool_segment, "_sync_data", sync)

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        await spool.append(record(b"first"))
        with pytest.raises(SpoolFailed, match="Input/output error"):
            await spool.append(record(b"lost"))
        await spool.append(record(b"third"))
        assert synced[0] == synced[1] != synced[2]
        assert bodies(spool.directory, spool.durable) == [b"first", b"third"]
        await spool.close()

    run(scenario())

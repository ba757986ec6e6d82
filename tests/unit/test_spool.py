"""The spool's writing side: real files, real syncs; where it can be had, the kernel itself refuses."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from pathlib import Path

import pytest

from collector import spool_segment
from collector.spool import Position, Spool, SpoolFailed, SpoolFull, free, read_records
from tests.support import until
from tests.unit.spool_support import bodies, files, record, run


def test_a_record_comes_back_as_it_went_in(tmp_path: Path) -> None:
    """Every field of every record survives the disk, in the order of the appends."""
    records = [
        record(b""),
        record(b"x" * 300_000, signal="logs", encoding="json", tenant="münchen", billing_account="team-ä"),
        record(signal="metrics", billing_account="", limits_version=7, received_at=-1),
    ]

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        for one in records:
            await spool.append(one)
        assert [found for _, found in read_records(spool.directory, None, spool.durable)] == records
        await spool.close()

    run(scenario())


def test_append_returns_only_after_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While fdatasync has not returned, no append has, and the durable position has not moved."""
    allowed = asyncio.Event()

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        loop = asyncio.get_running_loop()

        def slow_sync(fd: int) -> None:
            asyncio.run_coroutine_threadsafe(allowed.wait(), loop).result()
            os.fsync(fd)

        monkeypatch.setattr(spool_segment, "_sync_data", slow_sync)
        before = spool.durable
        append = asyncio.create_task(spool.append(record()))
        await asyncio.sleep(0.1)
        assert not append.done()
        assert spool.durable == before
        allowed.set()
        await append
        assert spool.durable > before
        await spool.close()

    run(scenario())


def test_waiting_appends_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 appends at once need a few syncs, not 200, and each is on disk afterwards."""
    syncs: list[int] = []
    monkeypatch.setattr(spool_segment, "_sync_data", lambda fd: (syncs.append(fd), os.fdatasync(fd))[1])

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        sent = [f"{n}".encode() for n in range(200)]
        await asyncio.gather(*(spool.append(record(body)) for body in sent))
        assert len(syncs) <= 3
        assert bodies(spool.directory, spool.durable) == sent
        await spool.close()

    run(scenario())


def test_more_buffers_than_one_system_call_takes(tmp_path: Path) -> None:
    """A group of 3,000 records (IOV_MAX is 1,024 buffers) is written whole and in order."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        sent = [b"%d" % n for n in range(3_000)]
        await asyncio.gather(*(spool.append(record(body)) for body in sent))
        assert bodies(spool.directory, spool.durable) == sent
        await spool.close()

    run(scenario())


def test_a_write_cut_short_by_the_kernel_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pwritev may take fewer bytes than it was given, inside any buffer: nothing is lost or doubled."""
    real = os.pwritev

    def seven_bytes(fd: int, views: list[memoryview], offset: int) -> int:
        return real(fd, [b"".join(views)[:7]], offset)

    monkeypatch.setattr(os, "pwritev", seven_bytes)

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        await asyncio.gather(*(spool.append(record(b"payload %d" % n)) for n in range(5)))
        assert bodies(spool.directory, spool.durable) == [b"payload %d" % n for n in range(5)]
        await spool.close()

    run(scenario())


def test_a_client_that_goes_away_disturbs_nobody(tmp_path: Path) -> None:
    """Cancelling one waiting append leaves the others of its group answered and the bytes accounted for."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        tasks = [asyncio.create_task(spool.append(record(b"%d" % n))) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])
        await spool.append(record(b"later"))
        spool.recount()
        assert spool.used_bytes == sum(path.stat().st_size for path in files(spool.directory))
        await spool.close()

    run(scenario())


def test_directory_and_files_are_private(tmp_path: Path) -> None:
    """Raw bodies rest here: 0700 and 0600, whatever the umask allows."""
    old = os.umask(0)

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        await spool.append(record())
        assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in files(spool.directory)} == {0o600}
        await spool.close()

    try:
        run(scenario())
    finally:
        os.umask(old)


def test_a_full_spool_refuses_until_segments_are_freed(tmp_path: Path) -> None:
    """At the bound: SpoolFull with a delay; after the loader freed what it loaded, appends succeed again."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool", 10_000, segment_bytes=2_000)
        with pytest.raises(SpoolFull) as refused:
            for _ in range(20):
                await spool.append(record(b"x" * 1_000))
        assert refused.value.retry_after > 0
        assert spool.used_bytes <= 10_000
        loaded = spool.durable
        assert free(spool.directory, loaded) > 0
        spool.recount()
        await spool.append(record(b"y" * 1_000))
        assert bodies(spool.directory, spool.durable, loaded) == [b"y" * 1_000]
        await spool.close()

    run(scenario())


def test_the_bound_holds_for_what_is_still_waiting(tmp_path: Path) -> None:
    """Appends that arrive together cannot overshoot the bound, though none of them is on disk yet."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool", 10_000)
        results = await asyncio.gather(
            *(spool.append(record(b"x" * 1_000)) for _ in range(50)), return_exceptions=True
        )
        assert sum(result is None for result in results) == 9
        assert all(result is None or isinstance(result, SpoolFull) for result in results)
        assert sum(path.stat().st_size for path in files(spool.directory)) <= 10_000
        await spool.close()

    run(scenario())


def test_the_default_bound_is_a_fifth_of_the_free_space_at_most(tmp_path: Path) -> None:
    """min(4 GiB, 20 % of free space)."""
    spool = Spool.open(tmp_path / "spool")
    free_bytes = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert spool.max_bytes <= 4 * 1024**3
    assert spool.max_bytes == pytest.approx(min(4 * 1024**3, free_bytes * 0.2), rel=0.05)
    run(spool.close())


def test_a_spool_is_called_full_before_the_last_byte(tmp_path: Path) -> None:
    """With room for a tiny request left, most are refused: that is full. One that could never fit is refused and
    does not make it so, or a single client could take the server out of its load balancer."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool", 80_000, segment_bytes=20_000)
        with pytest.raises(SpoolFull):
            await spool.append(record(b"x" * 80_000))
        assert spool.state == "ok"
        for _ in range(7):
            await spool.append(record(b"x" * 10_000))
        assert spool.state == "full"
        await spool.append(record(b"x" * 1_000))
        free(spool.directory, spool.durable)
        spool.recount()
        assert spool.state == "ok"
        await spool.close()

    run(scenario())


def test_a_spool_that_had_no_room_for_a_request_is_full_until_it_has(tmp_path: Path) -> None:
    """More room is left than most requests need, and yet one was just sent away."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool", 80_000, segment_bytes=20_000)
        await spool.append(record(b"x" * 50_000))
        assert spool.state == "ok"
        with pytest.raises(SpoolFull):
            await spool.append(record(b"x" * 40_000))
        assert spool.state == "full"
        await spool.append(record(b"x" * 1_000))
        assert spool.state == "full"
        free(spool.directory, spool.durable)
        spool.recount()
        assert spool.state == "ok"
        await spool.append(record(b"x" * 40_000))
        assert spool.state == "ok"
        await spool.close()

    run(scenario())


def test_a_failing_listener_keeps_no_writer_waiting(tmp_path: Path) -> None:
    """on_durable raises: the append returns all the same."""

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        spool = Spool.open(tmp_path / "spool")

        def broken(position: Position) -> None:
            raise RuntimeError("listener")

        spool.on_durable = broken
        await spool.append(record())
        await spool.close()

    run(scenario())


def test_a_segment_is_left_soon_after_its_first_record(tmp_path: Path) -> None:
    """Under light load a loaded body is unlinked within seconds, not when 64 MiB have come together; idle
    segments are not replaced."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool", segment_seconds=0.1)
        seen: list[Position] = []
        spool.on_durable = seen.append
        await spool.append(record(b"secret"))
        loaded = spool.durable
        await until(lambda: spool.durable[0] > loaded[0])
        assert free(spool.directory, loaded) == 1
        assert b"secret" not in b"".join(path.read_bytes() for path in files(spool.directory))
        await asyncio.sleep(0.3)
        assert len(seen) == 2
        await spool.close()

    run(scenario())


def test_closing_answers_everybody_and_refuses_the_rest(tmp_path: Path) -> None:
    """What waits is written and acknowledged, a later append is refused, and closing twice is fine."""

    async def scenario() -> None:
        spool = Spool.open(tmp_path / "spool")
        waiting = [asyncio.create_task(spool.append(record(b"%d" % n))) for n in range(10)]
        await asyncio.sleep(0)
        await spool.close()
        await asyncio.gather(*waiting)
        with pytest.raises(SpoolFailed):
            await spool.append(record())
        await spool.close()
        assert len(bodies(spool.directory, spool.durable)) == 10

    run(scenario())


def test_a_start_never_appends_to_an_old_segment(tmp_path: Path) -> None:
    """Restarted again and again, numbers only grow, even where the directory was emptied meanwhile."""
    numbers = []
    for _ in range(3):
        spool = Spool.open(tmp_path / "spool")
        numbers.append(spool.durable[0])
        run(spool.close())
    for path in files(tmp_path / "spool"):
        path.unlink()
    time.sleep(0.005)
    spool = Spool.open(tmp_path / "spool")
    numbers.append(spool.durable[0])
    run(spool.close())
    assert numbers == sorted(set(numbers))


def test_a_clock_set_back_does_not_repeat_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine wakes up in 1970: the newest segment still on disk keeps the numbers growing."""
    spool = Spool.open(tmp_path / "spool")
    before = spool.durable[0]
    run(spool.close())
    monkeypatch.setattr(spool_segment.time, "time_ns", lambda: 0)
    spool = Spool.open(tmp_path / "spool")
    assert spool.durable[0] == before + 1
    run(spool.close())

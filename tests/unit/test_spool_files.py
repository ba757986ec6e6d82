"""Reading, freeing and repairing segments: what a crash, a bad disk or a slow loader leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from collector.spool import Position, Record, Spool, SpoolDamaged, free, read_records, resynchronise
from collector.spool_files import cut_torn_tail, segment_path, segments
from collector.spool_format import FIXED


def record(body: bytes) -> Record:
    return Record(1, 1, "", None, "traces", "protobuf", body)


def fill(directory: Path, *groups: list[bytes]) -> Position:
    """One segment per group of bodies; returns the durable end."""

    async def append() -> Position:
        end = (0, 0)
        for group in groups:
            spool = Spool.open(directory)
            for body in group:
                await spool.append(record(body))
            end = spool.durable
            await spool.close()
        return end

    return asyncio.run(append())


def bodies(directory: Path, end: Position, start: Position | None = None) -> list[bytes]:
    return [found.body for _, found in read_records(directory, start, end)]


def damage(directory: Path, segment: int, offset: int) -> None:
    with segment_path(directory, segment).open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))


def test_reading_goes_on_where_it_left(tmp_path: Path) -> None:
    """From any position that was returned, exactly the records behind it follow, across segments."""
    end = fill(tmp_path, [b"a", b"bb"], [], [b"ccc"])
    found = list(read_records(tmp_path, None, end))
    for index, (position, _) in enumerate(found):
        assert bodies(tmp_path, end, position) == [one.body for _, one in found[index + 1 :]]


def test_nothing_behind_the_durable_end_is_read(tmp_path: Path) -> None:
    """Bytes of a group whose sync is not over are not the loader's yet."""
    end = fill(tmp_path, [b"a", b"b"])
    (first, _), _ = read_records(tmp_path, None, end)
    assert bodies(tmp_path, first) == [b"a"]


@pytest.mark.parametrize("cut", [1, 3, FIXED.size, FIXED.size + 2, FIXED.size + 4])
def test_a_torn_tail_is_cut_at_start_up(tmp_path: Path, cut: int) -> None:
    """The process was killed inside its last write, at any byte of it: what came before stays."""
    end = fill(tmp_path, [b"first", b"second"])
    path = segment_path(tmp_path, end[0])
    os.truncate(path, end[1] - cut)
    spool = Spool.open(tmp_path)
    assert spool.torn_bytes == FIXED.size + len(b"second") - cut
    assert bodies(tmp_path, spool.durable) == [b"first"]
    assert path.stat().st_size == FIXED.size + len(b"first")
    asyncio.run(spool.close())


def test_zeros_at_the_end_are_a_torn_tail(tmp_path: Path) -> None:
    """After a power cut a file system may show a grown file whose new blocks were never written."""
    end = fill(tmp_path, [b"first"])
    with segment_path(tmp_path, end[0]).open("ab") as file:
        file.write(bytes(8192))
    assert cut_torn_tail(tmp_path, end[0]) == 8192
    assert bodies(tmp_path, (end[0] + 1, 0)) == [b"first"]


def test_damage_before_intact_records_is_not_cut(tmp_path: Path) -> None:
    """A flipped bit in the middle must not cost the acknowledged records behind it."""
    end = fill(tmp_path, [b"first", b"second", b"third"])
    damage(tmp_path, end[0], FIXED.size + len(b"first") + FIXED.size)
    assert cut_torn_tail(tmp_path, end[0]) == 0
    assert segment_path(tmp_path, end[0]).stat().st_size == end[1]


def test_every_single_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """Whichever byte of a record is damaged, the reader says so and can go on with the next."""
    end = fill(tmp_path, [b"first", b"second", b"third"])
    start = FIXED.size + len(b"first")
    for offset in range(start, start + FIXED.size + len(b"second")):
        damage(tmp_path, end[0], offset)
        with pytest.raises(SpoolDamaged) as found:
            bodies(tmp_path, end)
        assert (found.value.segment, found.value.offset) == (end[0], start)
        onward = resynchronise(tmp_path, found.value.segment, found.value.offset, end)
        assert bodies(tmp_path, end, onward) == [b"third"]
        damage(tmp_path, end[0], offset)


def test_without_an_intact_record_behind_it_damage_ends_the_segment(tmp_path: Path) -> None:
    """resynchronise then answers the segment's end, from which the next segment is read."""
    fill(tmp_path, [b"first", b"second"])
    end = fill(tmp_path, [b"third"])
    damaged = segments(tmp_path)[0]
    damage(tmp_path, damaged, FIXED.size + len(b"first"))
    with pytest.raises(SpoolDamaged) as found:
        bodies(tmp_path, end)
    onward = resynchronise(tmp_path, damaged, found.value.offset, end)
    assert bodies(tmp_path, end, onward) == [b"third"]


def test_a_lost_durable_end_is_damage_not_a_torn_tail(tmp_path: Path) -> None:
    """The running segment is shorter than what was acknowledged: that is never passed over silently."""
    end = fill(tmp_path, [b"first", b"second"])
    os.truncate(segment_path(tmp_path, end[0]), end[1] - 1)
    with pytest.raises(SpoolDamaged):
        bodies(tmp_path, end)


def test_a_body_that_looks_like_a_record_fools_nobody(tmp_path: Path) -> None:
    """A body holds a whole spool segment and is damaged: what stands in it is never taken for a request."""
    end = fill(tmp_path / "inner", [b"x"])
    inner = segment_path(tmp_path / "inner", end[0]).read_bytes()
    outer = tmp_path / "outer"
    end = fill(outer, [b"pad" + inner, b"last"])
    assert bodies(outer, end) == [b"pad" + inner, b"last"]
    damage(outer, end[0], FIXED.size)
    assert bodies(outer, end, resynchronise(outer, end[0], 0, end)) == [b"last"]


def test_only_whole_loaded_segments_are_freed_and_never_the_newest(tmp_path: Path) -> None:
    """Half-loaded and newest segments stay; a freed one is read over without an error."""
    end = fill(tmp_path, [b"a"], [b"b", b"c"], [b"d"])
    first, second, third = segments(tmp_path)
    positions = [position for position, _ in read_records(tmp_path, None, end)]
    assert free(tmp_path, positions[0]) == 1
    assert segments(tmp_path) == [second, third]
    assert free(tmp_path, positions[1]) == 0
    assert free(tmp_path, positions[2]) == 1
    assert free(tmp_path, end) == 0
    assert segments(tmp_path) == [third]
    assert bodies(tmp_path, end, (first, 10)) == [b"d"]


_WRITER = """
import asyncio, sys
from pathlib import Path
from collector.spool import Record, Spool

async def main():
    spool = Spool.open(Path(sys.argv[1]), segment_bytes=200_000)
    async def send(worker):
        for n in range(1_000_000):
            body = b"%d-%d " % (worker, n) + b"x" * (n * 37 % 5000)
            await spool.append(Record(n, 1, "", None, "traces", "json", body))
            print(body.split()[0].decode(), flush=True)
    await asyncio.gather(*(send(worker) for worker in range(8)))

asyncio.run(main())
"""


def test_kill_9_in_the_middle_of_writing_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Five times: a process is killed while eight senders append; every acknowledged body is read afterwards,
    and the next start needs no help."""
    acknowledged: set[str] = set()
    for _ in range(5):
        command = [sys.executable, "-c", _WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(200)]
            writer.send_signal(signal.SIGKILL)
            lines += writer.stdout.readlines()
        acknowledged.update(line.strip() for line in lines if line.endswith("\n"))
        end = (segments(tmp_path)[-1] + 1, 0)
        cut_torn_tail(tmp_path, segments(tmp_path)[-1])
        found = {body.split()[0].decode() for body in bodies(tmp_path, end)}
        assert acknowledged <= found

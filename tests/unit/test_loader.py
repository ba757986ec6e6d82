"""The loader as a process: fed through pipes as the supervisor does, killed as machines do."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from collector import quarantine
from collector.config import Config
from collector.spool import Spool
from collector.spool_files import Position, segment_path
from collector.spool_format import Record
from collector.store.lake import Lake
from collector.store.lock import writer_lock
from semconv.request import Request
from tests.processes import family
from tests.store_support import SECOND, call, lay_empty_lake, traces
from tests.support import wait_until

SPOOL_BYTES = 1 << 30


class LoaderProcess:
    """The supervisor's side of the pipes."""

    def __init__(self, data_dir: Path, **options: Any) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "collector.loader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.say(config=Config(data_dir=data_dir, **options).model_dump(mode="json"))

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._messages.put(json.loads(line))

    def say(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, kind: str, seconds: float = 60.0) -> Any:
        """The next message of that kind; others are passed over."""
        deadline = time.monotonic() + seconds
        while True:
            message = self._messages.get(timeout=max(0.01, deadline - time.monotonic()))
            if kind in message:
                return message[kind]

    def load_up_to(self, position: Position) -> list[dict[str, Any]]:
        """Tell it the durable position and wait until it has loaded that far; the loads rows on the way."""
        self.say(durable=position)
        rows = []
        while not rows or (rows[-1]["spool_segment"], rows[-1]["spool_offset"]) < position:
            rows.append(self.hear("loaded"))
        return rows

    def end(self) -> int:
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            self._listener.join(5)
            with suppress(BrokenPipeError):
                pipe.close()
        return code


@contextmanager
def loader(data_dir: Path, **options: Any) -> Iterator[LoaderProcess]:
    process = LoaderProcess(data_dir, **options)
    try:
        process.hear("ready")
        yield process
    finally:
        process.end()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    lay_empty_lake(path)
    return path


def accept(data_dir: Path, *requests: Request) -> Position:
    """Put requests into the spool, as the receivers do; the durable position after them."""

    async def append() -> Position:
        spool = Spool.open(data_dir / "spool", SPOOL_BYTES)
        records = [Record(r.received_at, 1, r.tenant, None, r.signal, r.encoding, r.body) for r in requests]
        await asyncio.gather(*(spool.append(record) for record in records))
        await spool.close()
        return spool.durable

    return asyncio.run(append())


def ask(data_dir: Path, query: str) -> list[tuple[Any, ...]]:
    with Lake.open(data_dir, read_only=True) as lake:
        return lake.connection.execute(query).fetchall()


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, *varint(number >> 7)]) if number > 0x7F else bytes([number])


def numbered(first: int, last: int) -> Sequence[Request]:
    """A request per number, of one trace with one call."""
    return [traces(call(n, 1, response_id=f"r-{n}", at=n * SECOND)) for n in range(first, last)]


def test_what_is_durable_is_loaded_and_survives_a_restart(data_dir: Path) -> None:
    with loader(data_dir) as running:
        first = accept(data_dir, *numbered(1, 4))
        assert sum(row["spans_stored"] for row in running.load_up_to(first)) == 3
        running.say(stop=True)
        assert running.process.wait(30) == 0
    second = accept(data_dir, *numbered(4, 6))
    with loader(data_dir) as running:
        assert sum(row["spans_stored"] for row in running.load_up_to(second)) == 2
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM calls") == [(5, 5)]
    assert ask(data_dir, "SELECT sum(spans_duplicate) FROM loads") == [(0,)]


def test_told_to_stop_it_loads_what_is_durable_first(data_dir: Path) -> None:
    durable = accept(data_dir, *numbered(1, 30))
    with loader(data_dir) as running:
        running.say(durable=durable)
        running.say(stop=True)
        assert running.process.wait(60) == 0
    assert ask(data_dir, "SELECT count(*) FROM calls") == [(29,)]


def test_nothing_beyond_the_durable_position_is_loaded(data_dir: Path) -> None:
    half = accept(data_dir, *numbered(1, 3))
    accept(data_dir, *numbered(3, 5))
    with loader(data_dir) as running:
        running.load_up_to(half)
        running.say(stop=True)
        assert running.process.wait(30) == 0
    assert ask(data_dir, "SELECT count(*) FROM calls") == [(2,)]


def test_it_dies_with_its_supervisor(data_dir: Path) -> None:
    """The end of its standard input is the end of the process, at once."""
    with loader(data_dir) as running:
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.process.wait(5) != 0


def test_ctrl_c_is_the_supervisors_business(data_dir: Path) -> None:
    with loader(data_dir) as running:
        running.process.send_signal(signal.SIGINT)
        durable = accept(data_dir, *numbered(1, 2))
        assert running.load_up_to(durable)


@pytest.mark.parametrize("kills", [3, pytest.param(12, marks=pytest.mark.soak)])
def test_killed_in_the_middle_it_loses_nothing_and_stores_nothing_twice(data_dir: Path, kills: int) -> None:
    """kill -9 at random moments of reading, committing and starting; its successor starts at once and goes on."""
    durable = accept(data_dir, *numbered(1, 400))
    dice = random.Random(20_261_122)
    for _ in range(kills):
        running = LoaderProcess(data_dir, loader={"max_batch_spans": 60, "max_wait_seconds": 0.01})
        running.hear("ready")
        running.say(durable=durable)
        time.sleep(dice.uniform(0.0, 1.2))
        running.end()
    with loader(data_dir) as running:
        running.say(durable=durable)
        running.say(stop=True)
        assert running.process.wait(60) == 0
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM spans") == [(399, 399)]
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM calls") == [(399, 399)]
    assert ask(data_dir, "SELECT sum(spans_stored) FROM loads") == [(399,)]


def extracting(loader_pid: int) -> int:
    """The process beside the loader."""
    (pid,) = set(family(loader_pid)) - {loader_pid}
    return pid


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.soak)])
def test_loader_and_extraction_die_together_and_nothing_is_lost_or_stored_twice(
    data_dir: Path, kills: int
) -> None:
    """kill -9 of either at random moments. Guarantee: the other one is gone too, so that whoever comes next is alone;
    and it goes on where the lake says."""
    durable = accept(data_dir, *numbered(1, 200))
    dice = random.Random(20_261_123)
    for _ in range(kills):
        running = LoaderProcess(data_dir, loader={"max_batch_spans": 40, "max_wait_seconds": 0.01})
        running.hear("ready")
        beside = extracting(running.process.pid)
        running.say(durable=durable)
        time.sleep(dice.uniform(0.0, 1.0))
        os.kill(beside, signal.SIGKILL)
        assert running.process.wait(10) == 1
        running.end()
    with loader(data_dir) as running:
        beside = extracting(running.process.pid)
        running.say(durable=durable)
        running.end()
        wait_until(lambda: not Path(f"/proc/{beside}").exists())
    with loader(data_dir) as running:
        running.say(durable=durable)
        running.say(stop=True)
        assert running.process.wait(60) == 0
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM spans") == [(199, 199)]
    assert ask(data_dir, "SELECT sum(spans_stored) FROM loads") == [(199,)]


def test_only_one_loader_works_on_a_lake(data_dir: Path) -> None:
    with loader(data_dir):
        second = LoaderProcess(data_dir)
        try:
            assert "held by another process" in second.hear("error", 30)
            assert second.process.wait(10) == 1
        finally:
            second.end()


def test_a_request_that_cannot_be_loaded_goes_to_quarantine_and_the_rest_loads(data_dir: Path) -> None:
    """One undecodable body among forty: found, kept with its reason; all others are stored once."""
    requests = [*numbered(1, 31), Request("traces", "protobuf", b"\x0a\xff", 1), *numbered(31, 41)]
    durable = accept(data_dir, *requests)
    with loader(data_dir) as running:
        running.load_up_to(durable)
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM calls") == [(40, 40)]
    (entry,) = quarantine.entries(data_dir)
    assert entry.reason
    assert entry.request is not None
    assert entry.request.body == b"\x0a\xff"
    with loader(data_dir) as running:
        more = accept(data_dir, *numbered(41, 42))
        assert sum(row["spans_stored"] for row in running.load_up_to(more)) == 1
    assert len(list(quarantine.entries(data_dir))) == 1


def peak_kilobytes(process: int) -> int:
    """The most memory that the process has had at a time."""
    return int(Path(f"/proc/{process}/status").read_text().partition("VmHWM:")[2].split()[0])


def test_what_must_not_be_parsed_goes_to_quarantine_unparsed(data_dir: Path) -> None:
    """Bombs that are in the spool already, between good requests: each is kept whole with its reason, memory stays
    bounded (parsed, the first alone takes a gigabyte), everything else loads, and so it is after a restart.
    """
    spans = b"\x12\x00" * (8 << 20)
    scope = b"\x12" + varint(len(spans)) + spans
    bombs = [
        Request("traces", "protobuf", b"\x0a" + varint(len(scope)) + scope, 1),
        Request("logs", "json", b'{"resourceLogs":[' + b"{}," * 2_000_000 + b"{}]}", 1),
        Request("traces", "protobuf", b"\x0a\x00" * (4 << 20), 1),
    ]
    durable = accept(data_dir, *numbered(1, 3), *bombs[:2], *numbered(3, 5), bombs[2])
    with loader(data_dir) as running:
        before = peak_kilobytes(running.process.pid)
        running.say(durable=durable)
        heard = [running.hear("quarantined") for _ in bombs]
        running.load_up_to(durable)
        assert peak_kilobytes(running.process.pid) - before < 150 << 10
    expected = ["more than 50000 spans", "more than 2000000 values", "more than 2000000 values"]
    for entry, reason, bomb, report in zip(quarantine.entries(data_dir), expected, bombs, heard, strict=True):
        assert reason in entry.reason
        assert entry.request == bomb
        assert (report["signal"], report["bytes"]) == (bomb.signal, len(bomb.body))
    with loader(data_dir) as running:
        running.load_up_to(accept(data_dir, *numbered(5, 6)))
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM calls") == [(5, 5)]
    assert len(list(quarantine.entries(data_dir))) == len(bombs)


def test_a_spool_that_begins_again_is_read_from_its_start(data_dir: Path) -> None:
    """Its directory was removed, so its numbering restarts below the lake's position: what comes now still loads."""
    for _ in range(3):
        accept(data_dir, *numbered(1, 2))
    with loader(data_dir) as running:
        running.load_up_to(accept(data_dir, *numbered(2, 3)))
    shutil.rmtree(data_dir / "spool")
    with loader(data_dir) as running:
        running.load_up_to(accept(data_dir, *numbered(3, 4)))
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM calls") == [(3, 3)]


def test_the_first_requests_load_though_their_segment_was_left_meanwhile(data_dir: Path) -> None:
    """Nothing was ever loaded, and when the loader looks, the spool has gone on to a segment that is still empty."""
    segment, _ = accept(data_dir, *numbered(1, 5))
    segment_path(data_dir / "spool", segment + 1).touch()
    with loader(data_dir) as running:
        running.say(durable=(segment + 1, 0))
        running.say(stop=True)
        assert running.process.wait(60) == 0
    assert ask(data_dir, "SELECT sum(spans_stored) FROM loads") == [(4,)]


def test_damaged_spool_bytes_go_to_quarantine_and_the_rest_loads(data_dir: Path) -> None:
    durable = accept(data_dir, *numbered(1, 11))
    path = segment_path(data_dir / "spool", durable[0])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with loader(data_dir) as running:
        running.say(durable=durable)
        assert "damaged" in running.hear("quarantined")["reason"]
        running.load_up_to(durable)
    stored = ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM calls")
    assert stored == [(9, 9)]
    (entry,) = quarantine.entries(data_dir)
    assert entry.request is None
    assert entry.bytes > 0


def test_trouble_of_the_lake_is_waited_out_and_nobody_is_blamed(data_dir: Path) -> None:
    """A data directory that cannot be written: reported with the lag, tried again, then everything loads."""
    with loader(data_dir) as running:
        data = data_dir / "data"
        data.rename(data_dir / "elsewhere")
        data.write_text("in the way")
        durable = accept(data_dir, *numbered(1, 5))
        running.say(durable=durable)
        assert running.hear("error")
        data.unlink()
        (data_dir / "elsewhere").rename(data)
        while running.hear("loaded")["spool_offset"] < durable[1]:
            pass
    assert ask(data_dir, "SELECT count(*) FROM calls") == [(4,)]
    assert not list(quarantine.entries(data_dir))


def test_it_waits_for_its_turn_to_write(data_dir: Path) -> None:
    """Another writer (a backfill, a migration) holds the lock: nothing fails, the load comes after it."""
    with loader(data_dir) as running:
        durable = accept(data_dir, *numbered(1, 2))
        with writer_lock(data_dir):
            running.say(durable=durable)
            with pytest.raises(queue.Empty):
                running.hear("loaded", seconds=1.5)
        assert running.hear("loaded")["spans_stored"] == 1


def test_a_lake_that_cannot_be_created_is_said_and_ends_the_process(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    running = LoaderProcess(blocked)
    try:
        assert running.hear("error")
        assert running.process.wait(10) == 1
    finally:
        running.end()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "fresh"
    data_dir.mkdir(mode=0o700)
    with loader(data_dir) as running:
        running.load_up_to(accept(data_dir, *numbered(1, 2)))
    files = [path for path in data_dir.rglob("*") if path.suffix in (".parquet", ".sqlite")]
    assert files
    assert not [path for path in files if path.stat().st_mode & 0o077]

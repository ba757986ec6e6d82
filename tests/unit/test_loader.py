"""The loader as a process: fed through pipes as the supervisor does, killed as machines do."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
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
from tests.store_support import HOUR, SECOND, call, lay_empty_lake, store, traces
from tests.support import wait_until

SPOOL_BYTES = 1 << 30
DAY = 24 * HOUR


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
        return self.hear_up_to(position)

    def hear_up_to(self, position: Position) -> list[dict[str, Any]]:
        """The loads rows up to that of a position that it was told."""
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


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoaderProcess]:
    """A loader for what leaves it running, to start one takes a second; each test has traces of its own."""
    data_dir = tmp_path_factory.mktemp("shared") / "data"
    lay_empty_lake(data_dir)
    with loader(data_dir) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def rival(shared: LoaderProcess) -> Iterator[LoaderProcess]:
    """A second loader of that lake. It waits ten seconds for the first to end, while other tests run."""
    process = LoaderProcess(shared.data_dir)
    yield process
    process.end()


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
    with Lake.open(data_dir, read_only=True, threads=1) as lake:
        return lake.connection.execute(query).fetchall()


def stored(running: LoaderProcess, first: int, last: int) -> int:
    """How many of the traces with these numbers have a call; none has two."""
    between = f"trace_id >= '{first:032x}' AND trace_id < '{last:032x}'"
    [(calls, of_traces)] = ask(
        running.data_dir, f"SELECT count(*), count(DISTINCT trace_id) FROM calls WHERE {between}"
    )
    assert calls == of_traces
    return int(calls)


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, *varint(number >> 7)]) if number > 0x7F else bytes([number])


def numbered(first: int, last: int) -> Sequence[Request]:
    """A request per number, of one trace with one call."""
    return [traces(call(n, 1, response_id=f"r-{n}", at=n * SECOND)) for n in range(first, last)]


def test_nothing_beyond_the_durable_position_is_loaded(shared: LoaderProcess) -> None:
    half = accept(shared.data_dir, *numbered(101, 103))
    whole = accept(shared.data_dir, *numbered(103, 105))
    assert sum(row["spans_stored"] for row in shared.load_up_to(half)) == 2
    assert stored(shared, 101, 105) == 2
    assert sum(row["spans_stored"] for row in shared.load_up_to(whole)) == 2


def test_ctrl_c_is_the_supervisors_business(shared: LoaderProcess) -> None:
    shared.process.send_signal(signal.SIGINT)
    assert shared.load_up_to(accept(shared.data_dir, *numbered(111, 112)))


def extracting(loader_pid: int) -> int:
    """The process beside the loader."""
    (pid,) = set(family(loader_pid)) - {loader_pid}
    return pid


@pytest.mark.parametrize("kills", [3, pytest.param(18, marks=pytest.mark.soak)])
def test_ended_in_the_middle_it_loses_nothing_and_stores_nothing_twice(data_dir: Path, kills: int) -> None:
    """At random moments of reading, committing and starting, in turn: its supervisor is gone, which it notices by the
    end of its standard input; kill -9 of the process that extracts; kill -9 of the loader. Guarantee: neither of the
    two outlives it, so that whoever comes next is alone; that one starts at once and goes on where the lake says. Told
    to stop, it loads what is durable first."""
    durable = accept(data_dir, *numbered(1, 400))
    dice = random.Random(20_261_122)
    for number in range(kills):
        running = LoaderProcess(data_dir, loader={"max_batch_spans": 60, "max_wait_seconds": 0.01})
        running.hear("ready")
        beside = extracting(running.process.pid)
        running.say(durable=durable)
        time.sleep(dice.uniform(0.0, 1.2))
        assert running.process.stdin is not None
        if number % 3 == 0:
            running.process.stdin.close()
            assert running.process.wait(30) != 0
        elif number % 3 == 1:
            os.kill(beside, signal.SIGKILL)
            assert running.process.wait(30) == 1
        running.end()
        wait_until(lambda pid=beside: not Path(f"/proc/{pid}").exists())
    with loader(data_dir) as running:
        running.say(durable=durable)
        running.say(stop=True)
        assert running.process.wait(60) == 0
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM spans") == [(399, 399)]
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM calls") == [(399, 399)]
    assert ask(data_dir, "SELECT sum(spans_stored), sum(spans_duplicate) FROM loads") == [(399, 0)]


def put_aside(data_dir: Path, known: set[str]) -> list[quarantine.Entry]:
    """What came to the quarantine since these names were all there were."""
    return [entry for entry in quarantine.entries(data_dir) if entry.name not in known]


def test_a_request_that_cannot_be_loaded_goes_to_quarantine_and_the_rest_loads(shared: LoaderProcess) -> None:
    """One undecodable body among forty: found, kept with its reason; all others are stored once. Loading goes on."""
    known = set(quarantine.names(shared.data_dir))
    requests = [*numbered(201, 231), Request("traces", "protobuf", b"\x0a\xff", 1), *numbered(231, 241)]
    shared.load_up_to(accept(shared.data_dir, *requests))
    assert stored(shared, 201, 241) == 40
    (entry,) = put_aside(shared.data_dir, known)
    assert entry.reason
    assert entry.request is not None
    assert entry.request.body == b"\x0a\xff"
    more = accept(shared.data_dir, *numbered(241, 242))
    assert sum(row["spans_stored"] for row in shared.load_up_to(more)) == 1
    assert len(put_aside(shared.data_dir, known)) == 1


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
    durable = accept(data_dir, *numbered(3, 4))
    with store(data_dir) as before:
        before.load(*numbered(1, 3), position=(durable[0] + 1, 700))
    with loader(data_dir) as running:
        running.load_up_to(durable)
    assert ask(data_dir, "SELECT count(*), count(DISTINCT trace_id) FROM calls") == [(3, 3)]


def test_damaged_spool_bytes_go_to_quarantine_and_the_rest_loads(shared: LoaderProcess) -> None:
    data_dir = shared.data_dir
    known = set(quarantine.names(data_dir))
    durable = accept(data_dir, *numbered(301, 311))
    path = segment_path(data_dir / "spool", durable[0])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    shared.say(durable=durable)
    assert "damaged" in shared.hear("quarantined")["reason"]
    shared.load_up_to(durable)
    assert stored(shared, 301, 311) == 9
    (entry,) = put_aside(data_dir, known)
    assert entry.request is None
    assert entry.bytes > 0


def test_trouble_of_the_lake_is_waited_out_and_nobody_is_blamed(shared: LoaderProcess) -> None:
    """A data directory that cannot be written: reported with the lag, tried again, then everything loads. (Of another
    month, so that no stored file is read.)"""
    data_dir = shared.data_dir
    known = set(quarantine.names(data_dir))
    data = data_dir / "data"
    data.rename(data_dir / "elsewhere")
    data.write_text("in the way")
    durable = accept(data_dir, *(traces(call(n, 1, at=-60 * DAY)) for n in range(401, 405)))
    shared.say(durable=durable)
    assert shared.hear("error")
    data.unlink()
    (data_dir / "elsewhere").rename(data)
    shared.hear_up_to(durable)
    assert stored(shared, 401, 405) == 4
    assert not put_aside(data_dir, known)


def test_it_waits_for_its_turn_to_write(shared: LoaderProcess) -> None:
    """Another writer (a backfill, a migration) holds the lock: nothing fails, the load comes after it."""
    durable = accept(shared.data_dir, *numbered(501, 502))
    with writer_lock(shared.data_dir):
        shared.say(durable=durable)
        with pytest.raises(queue.Empty):
            shared.hear("loaded", seconds=1.0)
    assert shared.hear("loaded")["spans_stored"] == 1


def test_a_lake_that_cannot_be_created_is_said_and_ends_the_process(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    running = LoaderProcess(blocked)
    try:
        assert running.hear("error")
        assert running.process.wait(10) == 1
    finally:
        running.end()


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where nothing ever was, not even a lake: and when the loader looks, the spool that has requests in it has gone on
    to a segment that is still empty."""
    data_dir = tmp_path_factory.mktemp("first") / "data"
    data_dir.mkdir(mode=0o700)
    segment, _ = accept(data_dir, *numbered(1, 5))
    segment_path(data_dir / "spool", segment + 1).touch()
    with loader(data_dir) as running:
        running.say(durable=(segment + 1, 0))
        running.say(stop=True)
        assert running.process.wait(60) == 0
    return data_dir


def test_the_first_requests_load_though_their_segment_was_left_meanwhile(first_run: Path) -> None:
    assert ask(first_run, "SELECT sum(spans_stored) FROM loads") == [(4,)]


def test_files_are_for_their_owner_alone(first_run: Path) -> None:
    files = [path for path in first_run.rglob("*") if path.suffix in (".parquet", ".sqlite")]
    assert files
    assert not [path for path in files if path.stat().st_mode & 0o077]


def test_only_one_loader_works_on_a_lake(rival: LoaderProcess) -> None:
    """The second one says so and ends; the tests above show that the first goes on."""
    assert "held by another process" in rival.hear("error")
    assert rival.process.wait(30) == 1

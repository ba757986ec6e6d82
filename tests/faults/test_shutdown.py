"""Stop and start of a server that has much to do.

Guarantee: SIGTERM under load ends it, whatever is waiting to be loaded, and loses nothing that was acknowledged; a
second signal ends it without waiting, and loses nothing either; it is ready without having read the spool. The long
forms say how long that takes: it has ended within 10 s, and is ready within 5 s with 1 GB in the spool.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from collector.spool import SEGMENT_BYTES, Record, Spool
from collector.spool_files import segment_path, segments
from collector.spool_segment import SegmentWriter
from tests.faults.raw_clients import Requests, Senders, assert_stored_once, over_grpc, over_http
from tests.processes import PeakMemory, family, is_alive
from tests.support import PATIENCE_SECONDS, Collector, free_port, spawn_collector, start_collector, wait_until

STOP_SECONDS = 10.0
READY_SECONDS = 5.0
GIGABYTE = 1_000_000_000
MOST_BYTES = 600_000_000
REQUESTS = Requests(spans=50)
PAUSE_SECONDS = 0.05
# The largest batch of an SDK, in some 0.5 MB.
LARGE_REQUESTS = Requests(spans=512, padding=800)


def four_senders(server: Collector, requests: Requests, pause: float = 0.0) -> Senders:
    return Senders(server, [over_http, over_grpc, over_http, over_grpc], requests, pause)


def test_one_signal_under_load_ends_in_time_and_two_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    ports = free_port(), free_port(), free_port()
    server = start_collector(tmp_path / "data", ports=ports)
    stopped, _ = stop_under_load(server, four_senders(server, REQUESTS, PAUSE_SECONDS), seconds=1.0)
    server = start_collector(tmp_path / "data", ports=ports)
    ended = end_at_once(server, four_senders(server, REQUESTS, PAUSE_SECONDS), seconds=0.7)
    server = start_collector(tmp_path / "data", ports=ports)
    try:
        for senders in (stopped, ended):
            assert_stored_once(server, senders, seconds=60)
    finally:
        assert server.stop() == 0


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_stop_with_more_than_can_be_loaded_loses_nothing(tmp_path: Path) -> None:
    """Most of what 10 s of senders that never wait have left is for the next server to load."""
    server = start_collector(tmp_path / "data")
    senders, stopped = stop_under_load(server, four_senders(server, LARGE_REQUESTS), seconds=10.0)
    assert stopped < STOP_SECONDS
    server = start_collector(tmp_path / "data")
    try:
        assert_stored_once(server, senders, seconds=400)
    finally:
        assert server.stop() == 0


def stop_under_load(server: Collector, senders: Senders, seconds: float) -> tuple[Senders, float]:
    """And the seconds from the signal to the end."""
    with senders:
        time.sleep(seconds)
        server.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert server.process.wait(PATIENCE_SECONDS) == 0
        stopped = time.monotonic() - started
    assert senders.traces(True)
    return senders, stopped


def end_at_once(server: Collector, senders: Senders, seconds: float) -> Senders:
    """Its exit code says that it has waited for nothing."""
    children = family(server.process.pid)[1:]
    with senders:
        time.sleep(seconds)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    wait_until(lambda: not any(map(is_alive, children)))
    assert senders.traces(True)
    return senders


def test_a_server_is_ready_without_reading_a_gigabyte_of_spool(tmp_path: Path) -> None:
    """Only the end of it, the newest segment, to see whether it is whole."""
    fill_spool(tmp_path / "data", GIGABYTE)
    assert start_and_stop(tmp_path / "data").bytes_read < 2 * SEGMENT_BYTES


@pytest.mark.soak
def test_a_server_with_a_gigabyte_in_the_spool_is_ready_and_stopped_in_time(tmp_path: Path) -> None:
    fill_spool(tmp_path / "data", GIGABYTE)
    took = start_and_stop(tmp_path / "data")
    assert took.ready < READY_SECONDS
    assert took.stopped < STOP_SECONDS


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_gigabyte_in_the_spool_is_loaded_once_in_bounded_memory(tmp_path: Path) -> None:
    """No slower at the end than at the beginning, whatever has been stored meanwhile."""
    spans = fill_with_different(tmp_path / "data", GIGABYTE)
    server = start_collector(tmp_path / "data")
    started, times = time.monotonic(), list[float]()
    try:
        with PeakMemory(server.process.pid) as memory:
            for part in (spans // 3, 2 * spans // 3, spans):
                server.wait_for_spans(part, 600)
                times.append(time.monotonic() - started)
        (stored,) = server.sql(
            "SELECT count(*) AS spans, count(DISTINCT (trace_id, span_id)) AS different FROM spans"
        )
    finally:
        assert server.stop() == 0
    assert stored == {"spans": spans, "different": spans}
    assert times[2] - times[1] < 2 * times[0]
    assert memory.peak < MOST_BYTES


class Took(NamedTuple):
    """Seconds until it was ready, and from SIGTERM to its end; what the supervisor had read when it was ready."""

    ready: float
    stopped: float
    bytes_read: int


def start_and_stop(data_dir: Path) -> Took:
    started = time.monotonic()
    server = spawn_collector(data_dir)
    try:
        server.wait_ready()
        ready = time.monotonic()
        read = re.findall(r"^rchar: (\d+)$", Path(f"/proc/{server.process.pid}/io").read_text(), re.M)
    finally:
        assert server.stop() == 0
    return Took(ready - started, time.monotonic() - ready, int(read[0]))


def fill_spool(data_dir: Path, size: int) -> None:
    """Segments that are one and the same file: reading them takes as long, and writing them does not."""
    data_dir.mkdir(mode=0o700)
    spool = Spool.open(data_dir / "spool")
    writer = SegmentWriter(spool.directory, 1 << 40)
    _, offset = writer.position
    while offset < 64 << 20:
        _, offset = writer.write([record() for _ in range(16)])
    number = writer.position[0]
    for copy in range(1, size // offset):
        os.link(segment_path(spool.directory, number), segment_path(spool.directory, number + copy))
    assert len(segments(spool.directory)) >= size // offset


def fill_with_different(data_dir: Path, size: int) -> int:
    """So many bytes of requests, no two the same; how many spans."""
    data_dir.mkdir(mode=0o700)
    writer = SegmentWriter(Spool.open(data_dir / "spool").directory, 64 << 20)
    requests = written = 0
    while written < size:
        records = [record() for _ in range(16)]
        writer.write(records)
        requests += len(records)
        written += sum(len(each.body) for each in records)
    return requests * LARGE_REQUESTS.spans


def record() -> Record:
    return Record(
        received_at=time.time_ns(),
        limits_version=1,
        tenant="",
        billing_account=None,
        signal="traces",
        encoding="protobuf",
        body=LARGE_REQUESTS.make()[1],
    )

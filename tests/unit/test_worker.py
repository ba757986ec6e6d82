"""A worker process and what goes between it and its parent: whole, in order, and nothing outlives the parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from collector import handover
from collector.worker import Worker, WorkerEnded
from tests.processes import family
from tests.support import wait_until
from tests.unit.worker_support import each_twice, inverse, spin

# A parent that has its worker work for ever, and says who they are.
PARENT = """
import sys, time
from collector.worker import Worker
from tests.unit.worker_support import spin
worker = Worker(spin)
worker.give()
print(worker.pid, flush=True)
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def channels() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_tables_and_all_around_them_arrive_as_they_were() -> None:
    """Scenario: tables of several chunks, of none and without columns, between other values. Guarantee: what comes
    back is what the work returned; slices come without what lies beside them."""
    long = pa.table({"id": [f"span {n}" for n in range(10_000)], "n": [None, *range(9_999)]})
    tables = {"long": pa.concat_tables([long, long.slice(10, 5)]), "empty": long.schema.empty_table()}
    worker = Worker(each_twice)
    try:
        for _ in range(2):
            worker.give(tables)
        for _ in range(2):
            assert worker.take() == list(each_twice(tables))
    finally:
        worker.close()


def test_messages_leave_no_descriptor_and_no_memory_behind(
    channels: tuple[socket.socket, socket.socket],
) -> None:
    """Scenario: a hundred batches go by, each forgotten when the next comes. Guarantee: neither descriptors nor
    mappings pile up."""
    table = pa.table({"n": list(range(1000))})
    open_before = descriptors()
    for _ in range(100):
        handover.Message([table]).send(channels[0])
        (received,) = handover.receive(channels[1])
    assert received == table
    assert descriptors() <= open_before + 1
    assert Path("/proc/self/maps").read_text().count("memfd:handover") <= 1


def test_the_end_of_the_other_side_is_told(channels: tuple[socket.socket, socket.socket]) -> None:
    channels[0].close()
    with pytest.raises(EOFError):
        handover.receive(channels[1])


def test_work_that_raises_says_where() -> None:
    """Scenario: it raises when one part is made already. Guarantee: no part is mistaken for the answer."""
    worker = Worker(inverse)
    try:
        worker.give(0)
        with pytest.raises(WorkerEnded, match="ZeroDivisionError"):
            worker.take()
    finally:
        worker.close()


def test_a_worker_that_is_killed_is_noticed_at_once() -> None:
    worker = Worker(spin)
    try:
        worker.give()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerEnded, match="-9"):
            worker.take()
    finally:
        worker.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_is_the_parents_business(number: signal.Signals) -> None:
    """Scenario: whoever stops the server signals all of its processes. Guarantee: what is being made is still made."""
    worker = Worker(inverse)
    try:
        worker.give(1)
        assert worker.take() == [0, 1]
        os.kill(worker.pid, number)
        time.sleep(0.1)
        worker.give(2)
        assert worker.take() == [0, 0.5]
    finally:
        worker.close()


def test_kill_of_the_parent_ends_the_worker_in_the_middle_of_its_work() -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: b"worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes())
        assert pid in family(parent.pid)
        parent.kill()
    wait_until(lambda: not is_running(pid))

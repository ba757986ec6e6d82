"""SIGKILL in the middle of load, of the server, of a child of it and of all at once, over one data directory.

Guarantee: every span of an acknowledged request is in the lake exactly once; nothing is there that was not sent.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.faults.sdk_clients import SPANS_PER_BATCH, clients, of_all, stored
from tests.processes import family
from tests.support import Collector, free_port, spawn_collector, start_collector, wait_until

SEED = 20_251_121

Ports = tuple[int, int, int]


def loader_pid(collector: Collector) -> int | None:
    """The loader among the supervisor's children, by its command line."""
    for child in family(collector.process.pid):
        if b"collector.loader" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return None


def kill_server(collector: Collector, ports: Ports, chance: random.Random) -> Collector:
    """Its children end by themselves; a successor is there at once."""
    collector.kill()
    return start_collector(collector.data_dir, ports=ports)


def kill_child(collector: Collector, ports: Ports, chance: random.Random) -> Collector:
    """The loader or what works for it; the server goes on and starts another."""
    children = wait_until(lambda: family(collector.process.pid)[1:])
    with suppress(ProcessLookupError):
        os.kill(chance.choice(children), signal.SIGKILL)
    return collector


def kill_all(collector: Collector, ports: Ports, chance: random.Random) -> Collector:
    """As the kernel does where memory has run out: all processes, in any order."""
    processes = family(collector.process.pid)
    chance.shuffle(processes)
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return kill_server(collector, ports, chance)


def kill_while_starting(collector: Collector, ports: Ports, chance: random.Random) -> Collector:
    """The successor does not get far either."""
    collector.kill()
    successor = spawn_collector(collector.data_dir, ports=ports)
    time.sleep(chance.uniform(0.2, 2.0))
    successor.kill()
    return start_collector(collector.data_dir, ports=ports)


KILLS: list[Callable[[Collector, Ports, random.Random], Collector]] = [
    kill_child,
    kill_all,
    kill_server,
    kill_child,
    kill_while_starting,
]


def test_what_was_acknowledged_survives_kills_exactly_once(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "data", rounds=2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_what_was_acknowledged_survives_two_hundred_kills_exactly_once(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "data", rounds=205)


def kill_again_and_again(data_dir: Path, rounds: int) -> None:
    chance = random.Random(SEED)
    ports = (free_port(), free_port(), free_port())
    collector = start_collector(data_dir, ports=ports)
    try:
        with clients(collector, "http", "grpc") as senders:
            for kill in islice(cycle(KILLS), rounds):
                time.sleep(chance.uniform(0.05, 0.8))
                collector = kill(collector, ports, chance)
            time.sleep(0.5)
        for sender in senders:
            assert len(sender.acknowledged) > rounds * SPANS_PER_BATCH
        acknowledged = of_all(senders, lambda sender: sender.acknowledged)
        wait_until(lambda: acknowledged <= set(stored(collector)), 60, 0.5)
        found = stored(collector)
        calls = collector.sql("SELECT count(*) AS n FROM calls")[0]["n"]
    finally:
        code = collector.stop()
    assert code == 0
    assert len(found) == len(set(found)), "a span is stored twice"
    assert set(found) <= of_all(senders, lambda sender: sender.sent), (
        "something is stored that was never sent"
    )
    assert calls == len(found)

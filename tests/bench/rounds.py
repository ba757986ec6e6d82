"""One round: a client sends to a server, and the lake is asked until it has everything."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from collector.store.lake import Lake
from tests.bench.telemetry import BATCH
from tests.processes import cpu_seconds

_CONNECTIONS: Final = 8
_SEND_SECONDS: Final = 8
# Longer than this nobody waits for a round's spans to be stored; what is there by then counts.
_STORE_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.1


@dataclass(slots=True)
class Numbers:
    """Hands every round requests that no other has."""

    next: int = 0

    def take(self, count: int) -> int:
        first, self.next = self.next, self.next + count
        return first


@dataclass(slots=True)
class Sent:
    """What one client had acknowledged, and when it began (time.monotonic())."""

    began: float
    spans: int
    seconds: float
    refused: int
    server_cpu: float = 0.0

    @property
    def rate(self) -> float:
        return self.spans / self.seconds


@dataclass(slots=True)
class Client:
    """Starts a sender process for each round; it builds its requests before the clock starts."""

    requests: int
    numbers: Numbers = field(default_factory=Numbers)

    def send(self, transport: str, port: int, server_pid: int, requests: int | None = None) -> Sent:
        count = requests or self.requests
        with _sender(transport, port, count, self.numbers.take(count)) as sender:
            cpu, began = cpu_seconds(server_pid), time.monotonic()
            sender.stdin.write("go\n")
            sender.stdin.flush()
            answer = json.loads(sender.stdout.readline())
        cpu = cpu_seconds(server_pid) - cpu
        return Sent(began, answer["spans"], answer["seconds"], answer["refused"], cpu)


@contextmanager
def _sender(transport: str, port: int, requests: int, first: int) -> Iterator[subprocess.Popen[str]]:
    numbers = (port, requests, first, _CONNECTIONS, _SEND_SECONDS, BATCH)
    command = [sys.executable, "-m", "tests.bench.sender", transport, *map(str, numbers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the sender did not start")
            yield process
        finally:
            process.kill()


class StoredSpans:
    """Asks the lake how many spans a reader finds, on a connection of its own."""

    def __init__(self, data_dir: Path) -> None:
        self._lake = Lake.open(data_dir, read_only=True, threads=1)

    def count(self) -> int:
        row = self._lake.connection.execute("SELECT count(*) FROM spans").fetchone()
        return int(row[0])

    def wait_for(self, count: int, pause: float = _POLL_SECONDS) -> tuple[int, float]:
        """Returns how many there are, at least ``count`` unless time ran out, and when (time.monotonic())."""
        deadline = time.monotonic() + _STORE_SECONDS
        while (found := self.count()) < count and time.monotonic() < deadline:
            time.sleep(pause)
        return found, time.monotonic()

    def close(self) -> None:
        self._lake.close()

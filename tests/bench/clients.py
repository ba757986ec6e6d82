"""Sender processes, what they report, and a reader that counts what is stored."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from collector.store.lake import Lake
from tests.bench.sender import Job
from tests.processes import cpu_seconds

_POLL_SECONDS: Final = 0.1
# A sender that does not come to an end after its own time.
_PATIENCE_SECONDS: Final = 40.0


@dataclass(slots=True)
class Sent:
    """What one client had acknowledged; ``server_cpu`` is what the server's processes took meanwhile, seconds."""

    spans: int
    seconds: float
    refused: int
    cpu_seconds: float
    p50: float | None
    p99: float | None
    server_cpu: float = 0.0

    @property
    def rate(self) -> float:
        return self.spans / self.seconds


class SenderProcess:
    """A running client; every ``allow`` lets it send more, ``finish`` says what came of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def allow(self, requests: int) -> None:
        """In all, that is."""
        self._process.stdin.write(f"{requests}\n")
        self._process.stdin.flush()

    def finish(self) -> Sent:
        answer, _ = self._process.communicate(timeout=_PATIENCE_SECONDS)
        return Sent(**json.loads(answer))


@contextmanager
def sender(job: Job) -> Iterator[SenderProcess]:
    """A client that is ready to send."""
    command = [sys.executable, "-m", "tests.bench.sender", json.dumps(asdict(job))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the sender did not start")
            yield SenderProcess(process)
        finally:
            process.kill()


def send(job: Job, server_pid: int) -> Sent:
    """All requests of ``job`` as fast as they are answered."""
    with sender(job) as client:
        cpu = cpu_seconds(server_pid)
        client.allow(job.requests or 0)
        sent = client.finish()
    sent.server_cpu = cpu_seconds(server_pid) - cpu
    return sent


class StoredSpans:
    """Asks the lake how many spans a reader finds, on a connection of its own."""

    def __init__(self, data_dir: Path) -> None:
        self._lake = Lake.open(data_dir, read_only=True, threads=1)

    def count(self) -> int:
        row = self._lake.connection.execute("SELECT count(*) FROM spans").fetchone()
        return int(row[0])

    def wait_for(self, count: int, seconds: float = 60.0, pause: float = _POLL_SECONDS) -> int:
        """How many there are: ``count`` or more unless the time runs out."""
        deadline = time.monotonic() + seconds
        while (found := self.count()) < count and time.monotonic() < deadline:
            time.sleep(pause)
        return found

    def close(self) -> None:
        self._lake.close()

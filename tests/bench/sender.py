"""The client, a process of its own: makes requests, sends them over several connections, says what came of it.

``python -m tests.bench.sender JOB`` with a job as JSON; prints "ready" once its requests can be made (or are made:
where ``requests`` says how many, before the clock starts). Then it reads lines, each the number of requests that
may have been sent by then; the end of its input is the end. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from collector.traffic.load import Outcome, quantile
from collector.traffic.requests import BATCH, Traffic
from collector.traffic.senders import Target


@dataclass(frozen=True, slots=True)
class Job:
    """``requests`` are made before the clock starts, and all sent at once; None = made as they are sent."""

    endpoint: str
    transport: str = "http/protobuf"
    compression: str = "none"
    batch: int = BATCH
    connections: int = 8
    requests: int | None = None
    seconds: float = 60.0

    def target(self) -> Target:
        return Target(self.endpoint, self.transport, self.compression)


@dataclass
class Supply:
    """Hands out requests, as many as are allowed so far."""

    job: Job
    allowed: int = 0
    over: bool = False
    _taken: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._traffic = Traffic(self.job.batch, self.job.target().encoding)
        self._made = [self._make() for _ in range(self.job.requests or 0)]

    def allow(self, requests: int) -> None:
        with self._changed:
            self.allowed = requests
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def next(self) -> bytes | None:
        if self.job.requests is not None:
            with self._changed:
                return self._made.pop() if self._made else None
        with self._changed:
            while self._taken >= self.allowed and not self.over:
                self._changed.wait()
            if self.over:
                return None
            self._taken += 1
        return self._make()

    def _make(self) -> bytes:
        return self.job.target().prepared(self._traffic.request())


def work(job: Job, supply: Supply, outcome: Outcome, deadline: float) -> None:
    sender = job.target().connect()
    while (body := supply.next()) is not None and time.monotonic() < deadline:
        began = time.perf_counter()
        answer = sender.send(body)
        outcome.count(answer, job.batch, len(body), time.perf_counter() - began)
    sender.close()


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    supply = Supply(job)
    print("ready", flush=True)  # noqa: T201 - this is how it talks
    supply.allow(int(sys.stdin.readline()))
    started, cpu = time.monotonic(), time.process_time()
    outcomes = [Outcome() for _ in range(job.connections)]
    threads = [
        threading.Thread(target=work, args=(job, supply, outcome, started + job.seconds))
        for outcome in outcomes
    ]
    for thread in threads:
        thread.start()
    if job.requests is None:
        for line in sys.stdin:
            supply.allow(int(line))
        supply.end()
    for thread in threads:
        thread.join()
    print(json.dumps(summary(outcomes, started, cpu)), flush=True)  # noqa: T201 - as above


def summary(outcomes: list[Outcome], started: float, cpu: float) -> dict[str, Any]:
    total = Outcome(seconds=time.monotonic() - started)
    for outcome in outcomes:
        total.add(outcome)
    latencies = sorted(total.latencies)
    return {
        "spans": total.spans,
        "seconds": total.seconds,
        "refused": total.refused.total(),
        "cpu_seconds": time.process_time() - cpu,
        "p50": quantile(latencies, 0.5),
        "p99": quantile(latencies, 0.99),
    }


if __name__ == "__main__":
    main()

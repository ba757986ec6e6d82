"""Load on a collector: requests over several connections at once, at a rate or as fast as they are answered."""

from __future__ import annotations

import itertools
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from collector.traffic.requests import Traffic
from collector.traffic.senders import Answer, Target

_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """How much of it. ``rate`` is in spans a second, None = as fast as they are answered; ``seconds`` and ``spans``
    bound it, whichever comes first, ``spans`` rounded up to whole requests.
    """

    batch: int
    connections: int
    seconds: float
    spans: int
    rate: float | None = None


@dataclass(slots=True)
class Outcome:
    """What came of it; latencies are those of acknowledged requests, in seconds, from the first byte to the answer."""

    seconds: float = 0.0
    requests: int = 0
    spans: int = 0  # acknowledged
    rejected_spans: int = 0
    request_bytes: int = 0  # of acknowledged requests, before compression
    refused: Counter[str] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))

    def add(self, other: Outcome) -> None:
        self.requests += other.requests
        self.spans += other.spans
        self.rejected_spans += other.rejected_spans
        self.request_bytes += other.request_bytes
        self.refused += other.refused
        self.latencies.extend(other.latencies)

    def count(self, answer: Answer, spans: int, size: int, taken: float) -> None:
        """One request of ``spans`` and ``size`` bytes was answered after ``taken`` seconds."""
        self.requests += 1
        if answer.code:
            self.refused[answer.code] += 1
            return
        self.spans += spans - answer.rejected_spans
        self.rejected_spans += answer.rejected_spans
        self.request_bytes += size
        self.latencies.append(taken)


def quantile(sorted_values: Sequence[float], share: float) -> float | None:
    """The value that ``share`` of them do not exceed (nearest rank); None of nothing."""
    if not sorted_values:
        return None
    return sorted_values[max(0, min(len(sorted_values) - 1, -int(-share * len(sorted_values) // 1) - 1))]


Tell = Callable[[int], None]  # how many spans are acknowledged so far


def generate(target: Target, load: Load, tell: Tell = lambda _: None) -> Outcome:
    """Send until a bound is reached, or Ctrl-C; what was refused is counted and not sent again.

    A connection that is told to come back later waits as long as it is told.
    """
    traffic = Traffic(load.batch, target.encoding)
    run = _Run(target, load, traffic)
    outcomes = [Outcome() for _ in range(load.connections)]
    threads = [threading.Thread(target=run.work, args=(outcome,), daemon=True) for outcome in outcomes]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK_SECONDS)
                tell(sum(outcome.spans for outcome in outcomes))
    except KeyboardInterrupt:
        run.over.set()
    for thread in threads:
        thread.join()
    total = Outcome(seconds=time.monotonic() - run.started)
    for outcome in outcomes:
        total.add(outcome)
    return total


class _Run:
    """What the connections share."""

    def __init__(self, target: Target, load: Load, traffic: Traffic) -> None:
        self.over = threading.Event()
        self.started = time.monotonic()
        self._target = target
        self._load = load
        self._traffic = traffic
        self._numbers = itertools.count()
        self._requests = -(-load.spans // load.batch)
        self._end = self.started + load.seconds

    def work(self, outcome: Outcome) -> None:
        """One connection from start to end."""
        sender = self._target.connect()
        try:
            while (number := next(self._numbers)) < self._requests:
                request = self._traffic.request()
                body = self._target.prepared(request)
                if not self._wait_until(self._due(number)):
                    return
                began = time.perf_counter()
                answer = sender.send(body)
                outcome.count(answer, self._load.batch, len(request), time.perf_counter() - began)
                if answer.wait and not self._wait_until(time.monotonic() + answer.wait):
                    return
        finally:
            sender.close()

    def _due(self, number: int) -> float:
        return self.started + number * self._load.batch / self._load.rate if self._load.rate else 0.0

    def _wait_until(self, moment: float) -> bool:
        """False where all is over before."""
        if moment >= self._end:
            self.over.wait(max(0.0, self._end - time.monotonic()))
            return False
        pause = moment - time.monotonic()
        return (
            not (self.over.wait(pause) if pause > 0 else self.over.is_set()) and time.monotonic() < self._end
        )

"""How long one client waits for the answer to one span, and a reader for what was acknowledged."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

from collector.traffic.load import Load, generate, quantile
from collector.traffic.requests import Traffic
from collector.traffic.senders import Target
from tests.bench.clients import StoredSpans
from tests.bench.scale import Figures, Scale, say
from tests.support import Collector, running

_LIGHT_SPANS: Final = 10
_PAUSES: Final = (0.1, 0.4)  # seconds between requests, at random
_LOOK_SECONDS: Final = 0.03
_STORE_SECONDS: Final = 15.0


def measure(directory: Path, scale: Scale) -> Figures:
    with running(directory / "latency") as server:
        say("one-span requests ...")
        warm_up = Load(batch=1, connections=1, seconds=1, spans=200)
        generate(Target(server.http), warm_up)
        figures = _one_span(server, scale.one_span_seconds)
        say("light load ...")
        return figures | _until_queryable(server, scale.light_requests)


def _one_span(server: Collector, seconds: float) -> Figures:
    """One client on one connection, one request after the other."""
    figures: Figures = {}
    for name, target in (("http", Target(server.http)), ("grpc", Target(f"http://{server.grpc}", "grpc"))):
        outcome = generate(target, Load(batch=1, connections=1, seconds=seconds, spans=1_000_000))
        latencies = sorted(outcome.latencies)
        for share in (0.5, 0.99):
            figures[f"{name}_one_span_p{share * 100:.0f}_ms"] = (quantile(latencies, share) or 0.0) * 1e3
        figures[f"{name}_one_span_per_second"] = outcome.spans / outcome.seconds
    return figures


def _until_queryable(server: Collector, requests: int) -> Figures:
    """Seconds from the OK of a small request until a reader finds its spans, with little else going on."""
    stored = StoredSpans(server.data_dir)
    time.sleep(3)  # what came before is stored by then
    expected = stored.count()
    outstanding: deque[tuple[int, float]] = (
        deque()
    )  # the count at which it is there, and when it was acknowledged
    sending = threading.Thread(target=_send_slowly, args=(server, requests, expected, outstanding))
    sending.start()
    waited: list[float] = []
    deadline = time.monotonic() + requests * max(_PAUSES) + _STORE_SECONDS
    while (sending.is_alive() or outstanding) and time.monotonic() < deadline:
        found, now = stored.count(), time.monotonic()
        while outstanding and outstanding[0][0] <= found:
            waited.append(now - outstanding.popleft()[1])
        time.sleep(_LOOK_SECONDS)
    sending.join()
    stored.close()
    waited.sort()
    return {
        "queryable_after_p50_s": quantile(waited, 0.5) or 0.0,
        "queryable_after_p99_s": quantile(waited, 0.99) or 0.0,
        "queryable_after_never": len(outstanding),
    }


def _send_slowly(
    server: Collector, requests: int, expected: int, outstanding: deque[tuple[int, float]]
) -> None:
    pauses = random.Random(1)
    traffic, sender = Traffic(_LIGHT_SPANS), Target(server.http).connect()
    for _ in range(requests):
        if not sender.send(traffic.request()).code:
            expected += _LIGHT_SPANS
            outstanding.append((expected, time.monotonic()))
        time.sleep(pauses.uniform(*_PAUSES))
    sender.close()

"""How many spans a second are acknowledged, beside the product's own receivers with nothing behind them.

A round of the floor comes before each round of the product; before the next, what is acknowledged is stored.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.clients import Sent, StoredSpans, send
from tests.bench.scale import Figures, Scale, say
from tests.bench.sender import Job
from tests.support import Collector, running

# Name in the figures → protocol and compression.
WAYS: Final = {
    "http": ("http/protobuf", "none"),
    "grpc": ("grpc", "none"),
    "gzip": ("http/protobuf", "gzip"),
}
_SEND_SECONDS: Final = 10.0
_WARM_UP_REQUESTS: Final = 16
# Where storing takes longer, the next round begins beside it.
_STORE_SECONDS: Final = 20.0


def measure(directory: Path, scale: Scale) -> Figures:
    """Medians of the rounds: acknowledged and dropped a second, by way, and the receivers' CPU time a span."""
    rounds: list[Figures] = []
    with dropping() as (floor, ports), running(directory / "acknowledged") as server:
        stored = StoredSpans(server.data_dir)
        for way in WAYS:
            send(_job(way, ports, _WARM_UP_REQUESTS), floor)
            send(_job(way, _ports(server), _WARM_UP_REQUESTS), server.process.pid)
        expected = len(WAYS) * _WARM_UP_REQUESTS * Job("").batch
        for number in range(scale.rounds):
            say(f"acknowledged, round {number + 1} of {scale.rounds} ...")
            figures: Figures = {}
            for way in WAYS:
                dropped = send(_job(way, ports, scale.requests), floor)
                sent = send(_job(way, _ports(server), scale.requests), server.process.pid)
                figures |= _figures(way, dropped, sent)
                expected += sent.spans
                stored.wait_for(expected, _STORE_SECONDS)
            rounds.append(figures)
        missing = expected - stored.wait_for(expected)
        stored.close()
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return medians | {"acknowledged_not_stored": missing}


def _figures(way: str, dropped: Sent, sent: Sent) -> Figures:
    return {
        f"{way}_acknowledged_per_second": sent.rate,
        f"{way}_dropped_per_second": dropped.rate,
        f"{way}_receive_cpu_us": dropped.server_cpu / dropped.spans * 1e6,
        f"{way}_client_cpu_us": sent.cpu_seconds / sent.spans * 1e6,
        f"{way}_requests_refused": sent.refused + dropped.refused,
    }


def _job(way: str, ports: Mapping[str, int], requests: int) -> Job:
    transport, compression = WAYS[way]
    port = ports["grpc" if transport == "grpc" else "http"]
    endpoint = f"http://127.0.0.1:{port}"
    return Job(endpoint, transport, compression, requests=requests, seconds=_SEND_SECONDS)


def _ports(server: Collector) -> dict[str, int]:
    return {"http": server.http_port, "grpc": server.grpc_port}


@contextmanager
def dropping() -> Iterator[tuple[int, dict[str, int]]]:
    """The floor's process id and its ports."""
    command = [sys.executable, "-m", "tests.bench.dropping"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.pid, json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)

"""``python -m tests.bench``: how many spans a second, beside floors of the same run, and where the time goes.

All figures are medians of several rounds; server and client share two cores. Absolute figures belong to the
machine they were taken on, ratios travel better: each round of the product is preceded by the same round
against the product's own receivers with nothing behind them.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from tests.bench import repricing
from tests.bench.report import print_report
from tests.bench.rounds import Client, StoredSpans
from tests.bench.sender import http_sender
from tests.bench.stages import microseconds_by_stage
from tests.bench.telemetry import Traffic
from tests.processes import PeakMemory, pin_to_two_cores
from tests.support import Collector, running

_TRANSPORTS: Final = ("http", "grpc")
# No round begins later than this; with what comes after them, the whole stays under five minutes.
_ROUNDS_SECONDS: Final = 120
_LIGHT_REQUESTS: Final = 12
_LIGHT_SPANS: Final = 10

Figures = dict[str, float]


@click.command()
@click.option("--rounds", default=3, help="Rounds of each measurement. Default: 3.")
@click.option("--requests", default=240, help="Requests of 512 spans a round. Default: 240.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the results there too.")
def main(rounds: int, requests: int, json_file: Path | None) -> None:
    """Measure this machine; takes some minutes, loopback only."""
    results: dict[str, Any] = {"cores": pin_to_two_cores(), "spans_missing": 0, "requests_refused": 0}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="spanledger-bench-") as directory:
        _measure_server(Path(directory) / "server", Client(requests), rounds, results)
        say("CPU time by stage ...")
        results["stages"] = microseconds_by_stage(rounds, Path(directory) / "stages")
        say("repricing ...")
        results["repricing"] = repricing.measure(Path(directory) / "repricing")
    results["seconds"] = time.monotonic() - started
    results["stages"] = _with_receivers(results)
    print_report(results)
    if json_file:
        json_file.write_text(json.dumps(results, indent=2) + "\n")


def say(text: str) -> None:
    click.echo(text, err=True)


def _measure_server(data_dir: Path, client: Client, rounds: int, results: dict[str, Any]) -> None:
    with _dropping() as (floor, ports), running(data_dir) as server:
        stored = StoredSpans(data_dir)
        _warm_up(client, floor, ports, server, stored)
        with PeakMemory(server.process.pid) as memory:
            measured = _rounds(rounds, partial(_round, client, floor, ports, server, stored))
        for transport, each in measured.items():
            results[transport] = _medians(each)
            results["spans_missing"] += sum(one["acknowledged"] - one["queryable"] for one in each)
            results["requests_refused"] += sum(one["refused_requests"] for one in each)
        results["rounds"] = min(map(len, measured.values()))
        results["peak_memory_bytes"] = memory.peak
        say("light load ...")
        results["seconds_to_queryable"] = _light_load(server, stored)
        spans = stored.count()
        stored.close()
        results["spans_stored"] = spans
        results["disk_bytes_per_span"] = _disk_bytes(data_dir) / spans


def _warm_up(
    client: Client, floor: int, ports: dict[str, int], server: Collector, stored: StoredSpans
) -> None:
    for transport in _TRANSPORTS:
        client.send(transport, ports[transport], floor, requests=8)
        sent = client.send(transport, _port(server, transport), server.process.pid, requests=8)
        stored.wait_for(stored.count() + 1 if sent.spans else 0)
    time.sleep(2)


def _port(server: Collector, transport: str) -> int:
    return server.http_port if transport == "http" else server.grpc_port


def _rounds(rounds: int, measure: Callable[[str], Figures]) -> dict[str, list[Figures]]:
    """The transports in turn; on a slow machine, fewer rounds than asked for."""
    deadline = time.monotonic() + _ROUNDS_SECONDS
    measured: dict[str, list[Figures]] = {transport: [] for transport in _TRANSPORTS}
    for number in range(rounds):
        if number and time.monotonic() > deadline:
            break
        for transport in _TRANSPORTS:
            say(f"round {number + 1} of {rounds}, {transport} ...")
            measured[transport].append(measure(transport))
    return measured


def _round(
    client: Client, floor: int, ports: dict[str, int], server: Collector, stored: StoredSpans, transport: str
) -> Figures:
    dropped = client.send(transport, ports[transport], floor)
    before = stored.count()
    sent = client.send(transport, _port(server, transport), server.process.pid)
    found, at = stored.wait_for(before + sent.spans)
    return {
        "floor_per_second": dropped.rate,
        "floor_cpu_us": dropped.server_cpu / dropped.spans * 1e6,
        "acknowledged_per_second": sent.rate,
        "queryable_per_second": (found - before) / (at - sent.began),
        "acknowledged": sent.spans,
        "queryable": found - before,
        "refused_requests": sent.refused + dropped.refused,
    }


def _medians(rounds: list[Figures]) -> Figures:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def _light_load(server: Collector, stored: StoredSpans) -> dict[str, float]:
    """Seconds from the OK of a small request until a reader finds its spans, with nothing else going on."""
    send = http_sender(server.http_port)
    waited = []
    pauses = random.Random(1)
    for body in Traffic(_LIGHT_SPANS, first=1 << 18).bodies(_LIGHT_REQUESTS):
        before = stored.count()
        if not send(body):
            continue
        acknowledged = time.monotonic()
        waited.append(stored.wait_for(before + _LIGHT_SPANS, pause=0.01)[1] - acknowledged)
        time.sleep(pauses.uniform(0.2, 0.8))
    return {"median": statistics.median(waited), "maximum": max(waited)}


def _disk_bytes(data_dir: Path) -> int:
    files = [*(data_dir / "data").rglob("*"), *data_dir.glob("catalog.*")]
    return sum(file.stat().st_size for file in files if file.is_file())


@contextmanager
def _dropping() -> Iterator[tuple[int, dict[str, int]]]:
    """The floor's process id and its ports."""
    command = [sys.executable, "-m", "tests.bench.dropping"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.pid, json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


def _with_receivers(results: dict[str, Any]) -> dict[str, float]:
    """The stages in the order of the path; the receivers' share is that of the floor's process."""
    stages = dict(results["stages"])
    parse = {"upb parse only": stages.pop("upb parse only")}
    receivers = {f"receive, {name}": results[name]["floor_cpu_us"] for name in _TRANSPORTS}
    return parse | receivers | stages


if __name__ == "__main__":
    main()

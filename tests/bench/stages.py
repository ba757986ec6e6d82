"""CPU time of each stage for one span, in this process, by ``time.process_time`` (all threads)."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from unittest import mock

import duckdb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.memory import look_for_garbage_rarely
from collector.spool import Record, Spool
from collector.store.commit import Committer
from collector.store.lake import Lake
from collector.store.load_row import Origin
from collector.store.migrate import open_current
from collector.traffic.requests import BATCH, Traffic
from semconv.extract import extract
from semconv.prices import PriceBook, Pricer, installed
from semconv.request import Request
from semconv.resolve import Resolver
from semconv.settings import Settings
from tests.bench.scale import Figures, Scale, say

# What the loader commits at once: 39 requests of 512 spans are nearly its 20,000.
_REQUESTS: Final = 39
_SPANS: Final = _REQUESTS * BATCH
_PRICED: Final = 20_000
# Once as the floor: rows that are ready, and nothing else to do.
_PLAIN_INSERTS: Final = 3

Stages = dict[str, float]


def measure(directory: Path, scale: Scale) -> Figures:
    """Medians of several rounds, one round before them warms up; and the floors that need no server."""
    say("CPU time by stage ...")
    traffic = Traffic()
    look_for_garbage_rarely()  # as the loader does
    data_dir = directory / "stages"
    open_current(data_dir, {}).close()
    spool = Spool.open(data_dir / "bench-spool")
    with Lake.open(data_dir, threads=1, memory_limit="256MB") as lake:
        committer = Committer(lake, Settings())
        rounds = [
            _round([traffic.request() for _ in range(_REQUESTS)], committer, spool)
            for _ in range(scale.rounds + 1)
        ][1:]
        pricing = _pricing(lake.connection)
        plain = _plain_insert(lake.connection)
    asyncio.run(spool.close())
    medians = {f"stage: {stage}": statistics.median(each[stage] for each in rounds) for stage in rounds[0]}
    parse = 1e6 / medians["stage: upb parse only"]
    return medians | {"stage: pricing, a call": pricing, "parse_only_per_second": parse} | plain


def _round(bodies: list[bytes], committer: Committer, spool: Spool) -> Stages:
    now = time.time_ns()
    requests = [Request("traces", "protobuf", body, now) for body in bodies]
    stages = {
        "upb parse only": _cpu(lambda: [ExportTraceServiceRequest.FromString(body) for body in bodies]),
        "spool": _cpu(lambda: asyncio.run(_append(spool, bodies, now))),
        "extract": _cpu(lambda: extract(requests, Settings())),
    }
    extracted = extract(requests, Settings())
    watch = _Watch()
    with ExitStack() as patches:
        for name in ("resolve_spans", "build_calls"):
            timed = watch.timed(getattr(Resolver, name))
            patches.enter_context(mock.patch.object(Resolver, name, timed))
        commit = _cpu(lambda: committer.commit(extracted, Origin("otlp")))
    resolve = watch.seconds / _SPANS * 1e6
    return stages | {
        "resolve and calls": resolve,
        "insert and commit": commit - resolve,
    }


def _plain_insert(connection: duckdb.DuckDBPyConnection) -> Figures:
    """The floor of loading: a commit of as many rows, ready in Arrow, into a table like `spans`."""
    connection.execute("CREATE TABLE lake.plain AS FROM lake.spans LIMIT 0")
    ready = connection.execute(f"FROM lake.spans LIMIT {_SPANS}").to_arrow_table()
    connection.register("ready", ready)
    seconds, cpu = [], []
    for _ in range(_PLAIN_INSERTS):
        started, cpu_started = time.monotonic(), time.process_time()
        connection.execute("INSERT INTO lake.plain FROM ready")
        seconds.append(time.monotonic() - started)
        cpu.append(time.process_time() - cpu_started)
    connection.unregister("ready")
    return {
        "stage: plain insert of ready columns": min(cpu) / ready.num_rows * 1e6,
        "plain_insert_per_second": ready.num_rows / min(seconds),
    }


def _pricing(connection: duckdb.DuckDBPyConnection) -> float:
    """Microseconds of CPU for one call of 20,000, of the models that the traffic has."""
    calls = connection.execute(
        "SELECT row_number() OVER () AS node, NULL::BIGINT AS input_text_bytes, calls.*"
        f" FROM lake.calls, range(20) LIMIT {_PRICED}"
    ).to_arrow_table()
    pricer = Pricer(connection, PriceBook(installed()))
    pricer.price(calls)  # the first time it learns the models
    seconds = []
    for _ in range(3):
        started = time.process_time()
        pricer.price(calls)
        seconds.append(time.process_time() - started)
    return min(seconds) / _PRICED * 1e6


async def _append(spool: Spool, bodies: list[bytes], now: int) -> None:
    records = [Record(now, 1, "", None, "traces", "protobuf", body) for body in bodies]
    await asyncio.gather(*map(spool.append, records))


def _cpu(work: Callable[[], object]) -> float:
    """Microseconds of CPU for one span."""
    started = time.process_time()
    work()
    return (time.process_time() - started) / _SPANS * 1e6


class _Watch:
    """Adds up the CPU time of the functions it was put around."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            started = time.process_time()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.process_time() - started

        return run

"""``otlp-collector reprice`` over a million calls whose cost changes, as a user starts it: time and memory."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

from collector.store.commit import Committer
from collector.store.lake import Lake
from collector.store.load_row import Origin
from collector.store.migrate import open_current
from collector.traffic.requests import Traffic
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Settings
from tests.bench.command import measured
from tests.bench.scale import Figures, Scale, say
from tests.support import BIN

# Of 512 spans, one in four a call: a file of the lake is filled by about 100,000 calls.
_REQUESTS: Final = 8
_CALLS_AT_ONCE: Final = 100_000
_CONFIG: Final = "prices:\n  - {name: bench, discount: 10%}\n"
_SQL: Final = (Path(__file__).parent / "repricing.sql").read_text(encoding="utf-8")


def measure(directory: Path, scale: Scale) -> Figures:
    """Seconds of the whole command, of the work in it, its peak memory in bytes, and how many calls it changed."""
    say("repricing ...")
    data_dir = directory / "repricing"
    _fill(data_dir, scale.repriced_calls)
    config = directory / "prices.yaml"
    config.write_text(_CONFIG)
    took = measured(
        *(BIN / "otlp-collector", "reprice", "--json"), *("--data-dir", data_dir, "--config", config)
    )
    answer = json.loads(took.answer)
    return {
        "reprice_seconds": took.seconds,
        "reprice_seconds_of_work": answer["seconds"],
        "reprice_peak_memory_bytes": took.peak_memory_bytes,
        "reprice_calls_changed": answer["calls_changed"],
    }


def _fill(data_dir: Path, calls: int) -> None:
    open_current(data_dir, {}).close()
    with Lake.open(data_dir, threads=2, memory_limit="1GB") as lake:
        now = time.time_ns()
        traffic = Traffic()
        requests = [Request("traces", "protobuf", traffic.request(), now) for _ in range(_REQUESTS)]
        Committer(lake, Settings()).commit(extract(requests, Settings()), Origin("otlp"))
        lake.connection.execute("CREATE TEMP TABLE loaded_calls AS FROM lake.calls; DELETE FROM lake.calls")
        (loaded,) = lake.connection.execute("SELECT count(*) FROM loaded_calls").fetchall()[0]
        copies = _CALLS_AT_ONCE // loaded
        for first in range(0, calls // loaded, copies):
            lake.connection.execute(_SQL.format(first=first, copies=min(copies, calls // loaded - first)))

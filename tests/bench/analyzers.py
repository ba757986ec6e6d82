"""All analyzers over a million calls of a month, while a server loads at half of what it can."""

from __future__ import annotations

import datetime as dt
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from analyzers.window import Window, iso
from collector.store.lake import Lake
from collector.store.migrate import open_current
from tests.bench.clients import StoredSpans
from tests.bench.command import measured
from tests.bench.scale import Figures, Scale, say
from tests.bench.sustained import sustained
from tests.planted import Quiet, make
from tests.support import BIN, Collector, running

_SQL: Final = Path(__file__).with_name("analyzed.sql").read_text(encoding="utf-8")
_DAYS: Final = 30
_AGENTS: Final = 50
# Of a median of five, with a long tail; and of a week's seven days, two are half and quarter ones.
_CALLS_A_SESSION: Final = 6.6
_DAYS_OF_WORK: Final = (5 + 0.5 + 0.25) / 7
# So that files have the size that maintenance gives them.
_DAYS_AT_ONCE: Final = 5
_PART_OF_LOAD: Final = 0.5
_MOST_SECONDS: Final = 300.0
_OF_EACH: Final = "analyzer seconds: "


def measure(directory: Path, scale: Scale) -> Figures:
    """Seconds and peak memory in bytes of ``otlp-analyze`` without a name, CPU seconds too, and of each analyzer."""
    data_dir = directory / "analyzers"
    say(f"making {scale.analyzed_calls:,} calls of {_AGENTS} agents ...")
    window, calls = _fill(data_dir, scale.analyzed_calls)
    with running(data_dir) as server:
        say("loading, to know how fast it goes ...")
        rate = sustained(server, "http/protobuf", scale.analyzers_seconds)["queryable_per_second"]
        say("all analyzers ...")
        with _loading(server, rate * _PART_OF_LOAD):
            stored = StoredSpans(data_dir)
            before, began = stored.count(), time.monotonic()
            figures = _analyze(data_dir, window)
            loaded = (stored.count() - before) / (time.monotonic() - began)
            stored.close()
    return {
        **figures,
        **_of_each(data_dir),
        "analyzers_calls": calls,
        "analyzers_beside_load_per_second": rate * _PART_OF_LOAD,
        "analyzers_loaded_per_second": loaded,
    }


def _fill(data_dir: Path, calls: int) -> tuple[Window, int]:
    """The month before today, and how many calls it has."""
    today = dt.datetime.now(dt.UTC).date()
    quiet = Quiet(
        first_day=today - dt.timedelta(days=_DAYS),
        days=_DAYS,
        sessions_a_day=calls / (_DAYS * _DAYS_OF_WORK * _CALLS_A_SESSION),
        agents=_AGENTS,
        users=10 * _AGENTS,
        failures=0.02,
    )
    open_current(data_dir, {}).close()
    with Lake.open(data_dir, threads=2, memory_limit="2GB") as lake:
        for first in range(0, _DAYS, _DAYS_AT_ONCE):
            make(lake.connection, quiet, range(first, first + _DAYS_AT_ONCE))
            lake.connection.execute(_SQL)
        ((found,),) = lake.connection.execute("SELECT count(*) FROM lake.calls").fetchall()
    return quiet.window(), int(found)


@contextmanager
def _loading(server: Collector, rate: float) -> Iterator[None]:
    """A client sends so many spans a second, meanwhile."""
    command = [
        *(BIN / "otlp-collector", "generate-load", "--endpoint", server.http),
        *(
            "--rate",
            f"{rate:.0f}",
            "--duration",
            f"{_MOST_SECONDS}",
            "--count",
            f"{rate * _MOST_SECONDS:.0f}",
        ),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        try:
            yield
        finally:
            client.kill()


def _analyze(data_dir: Path, window: Window) -> Figures:
    """Of the whole command, start and printing included."""
    took = measured(
        *(BIN / "otlp-analyze", "--json", "--data-dir", data_dir),
        *("--since", iso(window.start), "--until", iso(window.end)),
    )
    return {
        "analyzers_seconds": took.seconds,
        "analyzers_cpu_seconds": took.cpu_seconds,
        "analyzers_peak_memory_bytes": took.peak_memory_bytes,
    }


def _of_each(data_dir: Path) -> Figures:
    """As the lake's `runs` have it."""
    with Lake.open(data_dir, read_only=True) as lake:
        rows = lake.connection.execute(
            "SELECT analyzer, epoch(finished_at - started_at) FROM runs WHERE status = 'ok' ORDER BY ALL"
        ).fetchall()
    return {f"{_OF_EACH}{name}": float(seconds) for name, seconds in rows}

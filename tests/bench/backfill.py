"""`otlp-backfill` of a file of OTLP JSON lines, as a user starts it: spans a second, and memory over time."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Final

from collector.traffic.requests import Traffic
from tests.bench.clients import StoredSpans
from tests.bench.scale import Figures, Scale, say
from tests.processes import memory_bytes
from tests.support import BIN

_SAMPLE_SECONDS: Final = 0.5


def measure(directory: Path, scale: Scale) -> Figures:
    """The rate is of the whole command, or of what it had stored when its time was up; memory is that of
    all its processes, in the second half beside the first."""
    file = directory / "spans.jsonl"
    spans, size = _write(file, scale.backfill_bytes)
    say(f"backfill of {size / 1e6:,.0f} MB ...")
    data_dir = directory / "backfill"
    command = [BIN / "otlp-backfill", file, "--data-dir", data_dir, "--json"]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        samples = _watch(process, started + scale.backfill_seconds)
        seconds = time.monotonic() - started
    file.unlink()
    stored = StoredSpans(data_dir)
    found = stored.count()
    stored.close()
    half = len(samples) // 2
    return {
        "backfill_per_second": found / seconds,
        "backfill_left_out": spans - found,
        "backfill_bytes": size,
        "backfill_peak_memory_bytes": max(samples),
        "backfill_memory_growth": max(samples[half:]) / max(samples[:half] or samples),
    }


def _write(file: Path, least: int) -> tuple[int, int]:
    """A request a line, at least so many bytes: how many spans, how many bytes."""
    traffic = Traffic(encoding="json")
    spans = size = 0
    with file.open("wb") as lines:
        while size < least:
            size += lines.write(traffic.request() + b"\n")
            spans += traffic.batch
    return spans, size


def _watch(process: subprocess.Popen[bytes], deadline: float) -> list[int]:
    """Memory of all processes while it runs; ends it after the deadline."""
    samples = [0]
    while process.poll() is None:
        try:
            samples.append(memory_bytes(process.pid))
        except OSError:
            continue  # a child ended while it was looked at
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(_SAMPLE_SECONDS)
    return samples

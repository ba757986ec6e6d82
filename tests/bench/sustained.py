"""Spans that become queryable a second while a client keeps sending, and what that takes of memory and CPU.

The client is never more than a few batches ahead: as fast as it can it would fill the spool, and what were measured
is how receivers and loader share two cores, not what is sustained.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collector.store.lake import Lake
from collector.store.maintenance import Maintenance
from tests.bench.clients import SenderProcess, StoredSpans, sender
from tests.bench.scale import Figures, Scale, say
from tests.bench.sender import Job
from tests.processes import PeakMemory, cpu_seconds, family
from tests.support import Collector, running

# Several times what the loader commits at once when it is behind.
_AHEAD_SPANS: Final = 160_000
_CONNECTIONS: Final = 4
_LOOK_SECONDS: Final = 0.25
# Until the first commits of full size are there, and all processes have grown to their size.
_WARM_UP_SECONDS: Final = 8.0
_SAMPLE_SECONDS: Final = 0.5
_MAINTAIN_SECONDS: Final = 60.0
# Between two commits there is a rate; where fewer are seen in the time, it takes up to so many times as long.
_LEAST_COMMITS: Final = 4
_MOST_TIMES: Final = 4


def measure(directory: Path, scale: Scale) -> Figures:
    """Protobuf for a minute; then what is stored takes on disk once it is maintained."""
    data_dir = directory / "sustained"
    with running(data_dir) as server:
        say(f"queryable, {scale.sustained_seconds:.0f} s ...")
        with PeakMemory(server.process.pid, every=_SAMPLE_SECONDS) as memory:
            figures = sustained(server, "http/protobuf", scale.sustained_seconds)
        figures["peak_memory_bytes"] = memory.peak
    return figures | _disk(data_dir)


def measure_json(directory: Path, scale: Scale) -> Figures:
    """The same from OTLP/JSON."""
    with running(directory / "json") as server:
        say(f"queryable from JSON, {scale.json_seconds:.0f} s ...")
        figures = sustained(server, "http/json", scale.json_seconds)
    return {f"json_{name}": value for name, value in figures.items()}


def sustained(server: Collector, transport: str, seconds: float) -> Figures:
    """``queryable_per_second``, from one commit that was seen to another, and CPU microseconds a span by process."""
    job = Job(
        server.http, transport, connections=_CONNECTIONS, seconds=_MOST_TIMES * seconds + 2 * _WARM_UP_SECONDS
    )
    stored = StoredSpans(server.data_dir)
    before = stored.count()
    with sender(job) as client:
        counts = _follow(client, stored, before, job.batch, _WARM_UP_SECONDS)
        for _ in counts:
            pass
        cpu, began = _cpu(server, client), time.monotonic()
        seen: list[tuple[int, float]] = []
        for look in _follow(client, stored, before, job.batch, _MOST_TIMES * seconds):
            seen.append(look)
            if look[1] - began > seconds and len(_commits(seen)) >= _LEAST_COMMITS:
                break
        elapsed = time.monotonic() - began
        cpu = {name: spent - cpu[name] for name, spent in _cpu(server, client).items()}
        sent = client.finish()
    missing = before + sent.spans - stored.wait_for(before + sent.spans)
    stored.close()
    commits = _commits(seen) or seen
    (first, start), (last, end) = commits[0], commits[-1]
    return {
        "queryable_per_second": (last - first) / (end - start) if end > start else 0.0,
        "queryable_missing": missing,
        "queryable_refused": sent.refused,
        **{f"{name}_cpu_us": spent / max(1, seen[-1][0] - seen[0][0]) * 1e6 for name, spent in cpu.items()},
        "cores_busy": sum(cpu.values()) / elapsed,
    }


def _follow(
    client: SenderProcess, stored: StoredSpans, before: int, batch: int, seconds: float
) -> Iterator[tuple[int, float]]:
    """Let the client stay ahead of what is stored for so long: how many spans there are, and when."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = stored.count()
        client.allow((found - before + _AHEAD_SPANS) // batch)
        yield found, time.monotonic()
        time.sleep(_LOOK_SECONDS)


def _commits(seen: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The looks that found more than the look before."""
    return [now for earlier, now in itertools.pairwise(seen) if now[0] > earlier[0]]


def _cpu(server: Collector, client: SenderProcess) -> dict[str, float]:
    """Seconds so far: of the receivers, of all that load, of the client."""
    main = server.process.pid
    everything = cpu_seconds(main)
    children = sum(cpu_seconds(pid) for pid in family(main)[1:] if _is_child(pid, main))
    return {"receivers": everything - children, "loader": children, "client": cpu_seconds(client.pid)}


def _is_child(pid: int, parent: int) -> bool:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[1]) == parent


def _disk(data_dir: Path) -> Figures:
    """Bytes of what is alive, all tables and the catalog, for a million spans; before that all maintenance there is."""
    say("maintenance ...")
    deadline = time.monotonic() + _MAINTAIN_SECONDS
    with Lake.open(data_dir, threads=2, memory_limit="512MB") as lake:
        maintenance = Maintenance(lake)
        while maintenance.step() and time.monotonic() < deadline:
            pass
        ((spans,),) = lake.connection.execute("SELECT count(*) FROM lake.spans").fetchall()
        ((size, files),) = lake.connection.execute(
            "SELECT sum(file_size_bytes + delete_file_size_bytes), sum(file_count) FROM ducklake_table_info('lake')"
        ).fetchall()
    catalog = sum(file.stat().st_size for file in data_dir.glob("catalog.sqlite*"))
    return {
        "disk_bytes_per_million_spans": (size + catalog) / spans * 1e6,
        "disk_files": files,
        "disk_catalog_bytes": catalog,
        "disk_spans": spans,
    }

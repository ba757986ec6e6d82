"""What the kernel says of a process and its children: memory, CPU time."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

_CORES: Final = 2
_TICK: Final = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS: Final = 0.2


def pin_to_two_cores() -> int:
    """This process and all that it starts run on the same two cores (or on what there is); returns how
    many."""
    cores = sorted(os.sched_getaffinity(0))[:_CORES]
    os.sched_setaffinity(0, cores)
    return len(cores)


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for member in found:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            found.extend(map(int, task.read_text().split()))
    return found


def is_alive(pid: int) -> bool:
    """Not if it has ended, though nobody has asked for its exit code yet."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and its descendants so far."""
    total = 0
    for member in family(pid):
        # The name, in brackets, may hold anything; utime and stime are the 12th and 13th field behind it.
        fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICK


def memory_bytes(pid: int) -> int:
    """Memory of the process and its descendants; what they share counts once (PSS)."""
    total = 0
    for member in family(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def resident_bytes(pid: int) -> int:
    """The same with what they share counted for each (RSS). One that ends meanwhile counts nothing."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{member}/status").read_text())
            total += 1024 * int(found[1]) if found else 0
    return total


class PeakMemory:
    """The most memory, by `measure`, that a process and its descendants had at one time while the block ran."""

    def __init__(
        self, pid: int, measure: Callable[[int], int] = memory_bytes, every: float = _SAMPLE_SECONDS
    ) -> None:
        self.peak = 0
        self._pid = pid
        self._measure = measure
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            try:
                self.peak = max(self.peak, self._measure(self._pid))
            except OSError:
                continue  # a child ended while it was looked at

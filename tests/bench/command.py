"""A command of ours, measured from its start to its end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

# Linux hands the peak memory of who starts a process on to it, and a bench that has made a lake has had gigabytes: a
# small process starts the command, and writes what it took to where standard error goes.
_STARTER: Final = """
import json, resource, subprocess, sys, time
started = time.monotonic()
code = subprocess.call(sys.argv[1:], stderr=subprocess.DEVNULL)
took = time.monotonic() - started
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]), file=sys.stderr)
"""


class Took(NamedTuple):
    """Standard output, seconds of the clock and of CPU, and peak memory in bytes (of its largest process)."""

    answer: bytes
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int


def measured(*command: str | Path) -> Took:
    """Raises RuntimeError where the command fails."""
    arguments: Sequence[str | Path] = (sys.executable, "-S", "-c", _STARTER, *command)
    done = subprocess.run(arguments, capture_output=True, check=True)
    code, seconds, cpu_seconds, peak_memory_bytes = json.loads(done.stderr)
    if code:
        raise RuntimeError(f"{Path(command[0]).name} ended with {code}")
    return Took(done.stdout, seconds, cpu_seconds, peak_memory_bytes)

"""What is known of the last maintenance of a data directory, in a small file of its own."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

STATE: Final = "maintenance.json"


@dataclass(frozen=True, slots=True)
class LastRun:
    """When it ended, Unix seconds, and which loads it compared with all others ("" = none)."""

    ended_at: float
    twins_checked_to: str = ""


def last_run(data_dir: Path) -> LastRun | None:
    """None where there was none, or nothing can be read of it."""
    try:
        found = orjson.loads((data_dir / STATE).read_bytes())
        return LastRun(float(found["ended_at"]), str(found["twins_checked_to"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(data_dir: Path, run: LastRun) -> None:
    """Not synced: without it the next run only looks at more."""
    written = data_dir / f"{STATE}.{os.getpid()}"
    written.write_bytes(orjson.dumps(asdict(run)))
    written.replace(data_dir / STATE)

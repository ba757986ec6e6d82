"""Calls may outlive the records that reported them: these were in a data file that was put aside, or past their
retention. Such calls stay as they are: they are known, and cost what they cost.

A file in the data directory says that there may be such, so that a commit looks for them when their records come again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from collector.store.durability import sync

MARK: Final = "calls-without-records"


def note(data_dir: Path) -> None:
    """There may be some from now on; durable on return."""
    if not are_possible(data_dir):
        (data_dir / MARK).touch(mode=0o600)
        sync(data_dir)


def are_possible(data_dir: Path) -> bool:
    """Whether there may be calls whose records are not stored any more."""
    return (data_dir / MARK).exists()

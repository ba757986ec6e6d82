"""What is known of the schedule between runs, in a small file of its own: which slots had their run, over what.

The lake's `runs` tells people what came of each run; this file tells the scheduler, which opens no lake, where it was,
and the next run whether anything has changed since. Without it nothing is made up for and nothing is skipped.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from collector.config_schedule import ScheduledRun

STATE: Final = "schedule.json"
# Held by the one scheduled run that is in progress.
LOCK: Final = "schedule.lock"


@dataclass(frozen=True, slots=True)
class Done:
    """The last slot of an entry that is dealt with, and the last run that gave a result; times are aware.

    ``about`` stands for the configuration and the program then, ``stored`` says how many rows each table had been
    given, ``window_end`` up to when the calls were looked at. `skipped`: nothing had changed at the slot.
    """

    slot: dt.datetime
    ran_at: dt.datetime | None = None
    window_end: dt.datetime | None = None
    about: str = ""
    stored: Mapping[str, int] = field(default_factory=dict)
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class InProgress:
    """Written before a run begins and taken away when it is recorded: what is found here was ended in between."""

    entry: str
    analyzers: list[str]
    slot: dt.datetime
    trigger: str
    started_at: dt.datetime


@dataclass(frozen=True, slots=True)
class State:
    """By entry (``entry_key``) what was done last. ``ended``: what was in progress and is not recorded yet."""

    done: dict[str, Done] = field(default_factory=dict)
    running: InProgress | None = None
    ended: list[InProgress] = field(default_factory=list)


_STATE: Final = TypeAdapter(State)


def entry_key(entry: ScheduledRun) -> str:
    """The same as long as nothing of the entry changes; its place in the schedule does not matter."""
    return digest(entry.model_dump(mode="json"))


def digest(document: Any) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def read(data_dir: Path) -> State:
    """Empty where there is none, or nothing can be read of it."""
    try:
        return _STATE.validate_json((data_dir / STATE).read_bytes())
    except (OSError, ValidationError):
        return State()


def write(data_dir: Path, state: State) -> None:
    """Whole or not at all; not synced: what a power cut takes is run once more, or once less. Raises OSError."""
    written = data_dir / f"{STATE}.{os.getpid()}"
    written.write_bytes(_STATE.dump_json(state))
    written.replace(data_dir / STATE)

"""Runs analyzers at the times of the configured cron expressions: each entry in a child process, one at a time.

A slot is a time at which an entry is due. Slots that passed while nothing ran (the server was down, the
machine asleep), or whose run was ended in the middle, are made up for by one run, for the latest of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import sys
import zoneinfo
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import orjson
from cronsim import CronSim

from collector import schedule_state
from collector.config import Config
from collector.config_schedule import ScheduledRun
from collector.log import Log
from collector.memory import GIVE_MEMORY_BACK
from collector.schedule_state import entry_key
from collector.telemetry import Outcome

Trigger = Literal["schedule", "catch-up"]
Slots = Mapping[str, dt.datetime]
"""By entry (``schedule_state.entry_key``), the last slot (aware) that was dealt with."""

# Address space beside the database's own memory: interpreter, libraries, stacks of threads, mapped files.
MEMORY_BESIDE_DATABASE: Final = 4 << 30
# Of the whole run: an analyzer has the time limit of `sql` for each of its queries.
RUN_SECONDS: Final = 1800.0
# Sleeping in steps notices a clock that jumped (a suspended machine, a time server).
_LONGEST_SLEEP: Final = 30.0
COMMAND: Final = (sys.executable, "-m", "collector.scheduled_run")
# How the child says what came of it.
EXIT_CODES: Final[Mapping[Outcome, int]] = {"ok": 0, "failed": 2, "timeout": 3, "skipped": 4}
_OUTCOMES: Final = {code: outcome for outcome, code in EXIT_CODES.items()}

log = Log("scheduler")


class CountsRuns(Protocol):
    def run_ended(self, outcome: Outcome) -> None: ...


@dataclass(frozen=True, slots=True)
class Due:
    """One entry that is to run now, for ``slot`` (aware, in the configured time zone)."""

    entry: ScheduledRun
    slot: dt.datetime
    trigger: Trigger


@dataclass(slots=True)
class _Planned:
    entry: ScheduledRun
    next_slot: dt.datetime


@dataclass(slots=True)
class Plan:
    """When each entry runs next. Pure: the clock is handed in."""

    entries: Sequence[ScheduledRun]
    now: dt.datetime
    dealt_with: Slots = field(default_factory=dict)
    _planned: list[_Planned] = field(init=False)

    def __post_init__(self) -> None:
        self._planned = [_Planned(entry, self._first_slot(entry)) for entry in self.entries]

    def due(self, now: dt.datetime) -> list[Due]:
        """What is to run at ``now``, in the order of the slots; asked again, the same is not due again."""
        found = []
        for planned in self._planned:
            if planned.next_slot <= now:
                found.append(self._take(planned, now))
        return sorted(found, key=lambda one: one.slot)

    def next_slot(self) -> dt.datetime:
        return min(planned.next_slot for planned in self._planned)

    def _take(self, planned: _Planned, now: dt.datetime) -> Due:
        slot = latest_slot(planned.entry.cron, now)
        in_time = slot == planned.next_slot and slot > self.now
        planned.next_slot = next_slot(planned.entry.cron, now)
        return Due(planned.entry, slot, "schedule" if in_time else "catch-up")

    def _first_slot(self, entry: ScheduledRun) -> dt.datetime:
        """The slot after the last one of this entry that was dealt with. Of a new entry nothing was missed."""
        last = self.dealt_with.get(entry_key(entry))
        return next_slot(entry.cron, self.now if last is None else last.astimezone(self.now.tzinfo))


def next_slot(cron: str, after: dt.datetime) -> dt.datetime:
    """The first slot later than ``after``, in its time zone."""
    return next(CronSim(cron, after))


def latest_slot(cron: str, until: dt.datetime) -> dt.datetime:
    """The last slot that is not later than ``until``, in its time zone."""
    # CronSim's reverse is exclusive, and slots are whole minutes.
    return next(CronSim(cron, until.replace(microsecond=0) + dt.timedelta(seconds=1), reverse=True))


class Scheduler:
    """Runs what ``config.schedule`` asks for until it is stopped."""

    def __init__(
        self,
        config: Config,
        child_config: Mapping[str, Any],
        telemetry: CountsRuns,
        *,
        command: Sequence[str] = COMMAND,
        run_seconds: float = RUN_SECONDS,
    ) -> None:
        """``child_config``: what a child may know of the configuration, as JSON has it."""
        self._config = config
        self._child_config = child_config
        self._telemetry = telemetry
        self._command = command
        self._run_seconds = run_seconds
        self._zone = zoneinfo.ZoneInfo(config.timezone)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Call when the lake is there. Without entries nothing is started."""
        if self._config.schedule and self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop, a run in progress included; it is made up for after the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        try:
            await self._follow_plan()
        except Exception as error:  # analyzers are not worth the server's life
            log.failed("schedule ended", error)

    async def _follow_plan(self) -> None:
        done = schedule_state.read(self._config.data_dir).done
        dealt_with = {entry: last.slot for entry, last in done.items()}
        plan = Plan(self._config.schedule, self._now(), dealt_with)
        while True:
            for due in plan.due(self._now()):
                await self._carry_out(due)
            wait = (plan.next_slot() - self._now()).total_seconds()
            await asyncio.sleep(min(max(wait, 0.0), _LONGEST_SLEEP))

    def _now(self) -> dt.datetime:
        return dt.datetime.now(self._zone)

    async def _carry_out(self, due: Due) -> None:
        name, slot = due.entry.label, due.slot.isoformat()
        log.info("run started", analyzer=name, slot=slot, trigger=due.trigger)
        outcome = await self._outcome(due)
        self._telemetry.run_ended(outcome)
        report = log.info if outcome in ("ok", "skipped") else log.warning
        report("run ended", analyzer=name, slot=slot, outcome=outcome)

    async def _outcome(self, due: Due) -> Outcome:
        told = order(self._child_config, self._config, due)
        try:
            code, _ = await run_child(
                self._command, self._run_seconds, DEVNULL, GIVE_MEMORY_BACK | os.environ, told
            )
        except TimeoutError:
            return "timeout"
        except OSError as error:
            log.failed("run cannot be started", error)
            return "failed"
        return _OUTCOMES.get(code, "failed")


def order(child_config: Mapping[str, Any], config: Config, due: Due) -> bytes:
    """The line that tells the child what to do."""
    analyzers = config.model_dump(mode="json", include={"analyzers"})
    entry = due.entry.model_dump(mode="json")
    told = {
        "config": {**child_config, **analyzers, "schedule": [entry]},
        "slot": due.slot.astimezone(dt.UTC),
        "trigger": due.trigger,
    }
    return orjson.dumps(told) + b"\n"


async def run_child(
    command: Sequence[str],
    seconds: float,
    stdout: int | None,
    environment: Mapping[str, str] | None = None,
    told: bytes = b"",
    pass_fds: Sequence[int] = (),
) -> tuple[int, bytes]:
    """Run a child that dies with us; its exit code and output, none where `stdout` is ours (None). `told`: what it
    reads on its standard input, which stays open. `pass_fds`: open files of ours that it has too. Raises TimeoutError
    where time was up.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=stdout, env=environment, pass_fds=pass_fds
    )
    try:
        async with asyncio.timeout(seconds):
            if process.stdin is not None and told:
                process.stdin.write(told)
            output = await process.stdout.read() if process.stdout else b""
            return await process.wait(), output
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

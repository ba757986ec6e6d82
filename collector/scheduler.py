"""Runs analyzers at the times of the configured cron expressions: each in a child process, one at a time.

A slot is a time at which an entry is due. Slots that passed while nothing ran (the server was down, the
machine asleep) are made up for by one run, for the latest of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import sys
import zoneinfo
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from cronsim import CronSim

from collector.config import Config, ScheduledRun
from collector.config_values import parse_size
from collector.log import Log
from collector.telemetry import Outcome

Trigger = Literal["schedule", "catch-up"]
Slots = Mapping[str, Sequence[dt.datetime]]
"""By analyzer, the slots (aware) for which a run is recorded, latest first."""

# Address space beside the database's own memory: interpreter, libraries, stacks of threads, mapped files.
MEMORY_BESIDE_DATABASE: Final = 4 << 30
# Of the whole run: an analyzer has the time limit of `sql` for each of its queries.
RUN_SECONDS: Final = 1800.0
# Sleeping in steps notices a clock that jumped (a suspended machine, a time server).
_LONGEST_SLEEP: Final = 30.0
# A yearly entry is the rarest that anybody plans.
_RECORDED: Final = """
    SELECT DISTINCT analyzer, scheduled_at AS slot FROM runs
    WHERE scheduled_at > now()::TIMESTAMP - INTERVAL 400 DAY ORDER BY slot DESC
"""
_RECORDED_SECONDS: Final = 60.0

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
    recorded: Slots = field(default_factory=dict)
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
        """The slot after the last recorded one of this entry. With no run recorded, nothing was missed."""
        for recorded in self.recorded.get(entry.analyzer, ()):
            slot = recorded.astimezone(self.now.tzinfo)
            # An analyzer can stand in the schedule several times.
            if latest_slot(entry.cron, slot) == slot:
                return next_slot(entry.cron, slot)
        return next_slot(entry.cron, self.now)


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
        telemetry: CountsRuns,
        *,
        command_for: Callable[[Due], Sequence[str]] | None = None,
        recorded: Callable[[], Awaitable[Slots]] | None = None,
        run_seconds: float = RUN_SECONDS,
    ) -> None:
        self._config = config
        self._telemetry = telemetry
        self._command_for = command_for or (lambda due: analyzer_command(config, due))
        self._recorded = recorded or (lambda: recorded_slots(config))
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
        plan = Plan(self._config.schedule, self._now(), await self._recorded())
        while True:
            for due in plan.due(self._now()):
                await self._carry_out(due)
            wait = (plan.next_slot() - self._now()).total_seconds()
            await asyncio.sleep(min(max(wait, 0.0), _LONGEST_SLEEP))

    def _now(self) -> dt.datetime:
        return dt.datetime.now(self._zone)

    async def _carry_out(self, due: Due) -> None:
        name, slot = due.entry.analyzer, due.slot.isoformat()
        log.info("run started", analyzer=name, slot=slot, trigger=due.trigger)
        outcome = await self._outcome(due)
        self._telemetry.run_ended(outcome)
        report = log.info if outcome == "ok" else log.warning
        report("run ended", analyzer=name, slot=slot, outcome=outcome)

    async def _outcome(self, due: Due) -> Outcome:
        try:
            environment = child_environment(self._config, os.environ)
            code, _ = await run_child(self._command_for(due), self._run_seconds, DEVNULL, environment)
        except TimeoutError:
            return "timeout"
        except OSError as error:
            log.failed("run cannot be started", error)
            return "failed"
        return "ok" if code == 0 else "failed"


async def run_child(
    command: Sequence[str],
    seconds: float,
    stdout: int | None,
    environment: Mapping[str, str] | None = None,
    told: bytes = b"",
) -> tuple[int, bytes]:
    """Run a child that dies with us; its exit code and output, none where `stdout` is ours (None). `told`: what it
    reads on its standard input, which stays open. Raises TimeoutError where time was up.
    """
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=stdout, env=environment)
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


def limited_command(config: Config, module: str, *arguments: str) -> list[str]:
    """``module`` as a child within the configured memory."""
    memory = parse_size(config.sql.memory_limit) + MEMORY_BESIDE_DATABASE
    return [sys.executable, "-m", "collector.limited", str(memory), module, *arguments]


def child_environment(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """The limits of ``sql`` as this server has them, wherever they were set; the file is not read again."""
    inherited = {name: value for name, value in environ.items() if name != "SPANLEDGER_CONFIG"}
    return inherited | {
        "SPANLEDGER_SQL_TIME_LIMIT_SECONDS": str(config.sql.time_limit_seconds),
        "SPANLEDGER_SQL_MEMORY_LIMIT": config.sql.memory_limit,
    }


def analyzer_command(config: Config, due: Due) -> list[str]:
    """The child that carries out ``due`` and records it in `runs`."""
    name = due.entry.analyzer
    options = {**config.analyzers.get(name, {}), **due.entry.options}
    arguments = {
        "--run-scheduled": name,
        "--slot": due.slot.astimezone(dt.UTC).isoformat(),
        "--trigger": due.trigger,
        "--options": json.dumps(options, default=str),
        "--timezone": config.timezone,
        "--data-dir": str(config.data_dir),
    }
    return limited_command(
        config, "collector.cli.analyze", *(word for pair in arguments.items() for word in pair)
    )


async def recorded_slots(config: Config) -> Slots:
    """What `runs` holds, asked through our own ``sql`` command."""
    arguments = ["sql", _RECORDED, "--json", "--data-dir", str(config.data_dir)]
    command = limited_command(config, "collector.cli.main", *arguments)
    slots: dict[str, list[dt.datetime]] = {}
    try:
        code, output = await run_child(command, _RECORDED_SECONDS, PIPE)
        for row in json.loads(output) if code == 0 else ():
            slots.setdefault(row["analyzer"], []).append(dt.datetime.fromisoformat(row["slot"]))
    except (TimeoutError, OSError, ValueError) as error:
        log.failed("recorded runs cannot be read; missed ones are not made up for", error)
    return slots

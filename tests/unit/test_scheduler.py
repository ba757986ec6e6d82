"""When analyzers run: slots of cron expressions, missed ones, real child processes within limits."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
import zoneinfo
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from collector.config import Config, ScheduledRun, load_config
from collector.scheduler import (
    Due,
    Plan,
    Scheduler,
    analyzer_command,
    child_environment,
    latest_slot,
    limited_command,
    run_child,
)
from collector.telemetry import Outcome

UTC = dt.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def at(text: str, zone: dt.tzinfo = UTC) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone)


def entry(cron: str, analyzer: str = "cost", **options: Any) -> ScheduledRun:
    return ScheduledRun(analyzer=analyzer, cron=cron, options=options)


def summary(due: list[Due]) -> list[tuple[str, str, str]]:
    return [(one.entry.cron, one.slot.isoformat(timespec="minutes"), one.trigger) for one in due]


class Counted:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def run_ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def test_an_entry_is_due_once_at_each_of_its_slots() -> None:
    """Not before, not twice, and again at the next one."""
    plan = Plan([entry("0 6 * * *")], at("2026-03-01T05:00"))
    assert plan.due(at("2026-03-01T05:59:59")) == []
    assert summary(plan.due(at("2026-03-01T06:00"))) == [("0 6 * * *", "2026-03-01T06:00+00:00", "schedule")]
    assert plan.due(at("2026-03-01T06:00:01")) == []
    assert plan.next_slot() == at("2026-03-02T06:00")


def test_slots_missed_while_the_server_was_down_are_made_up_for_by_one_run() -> None:
    """Three days off: one run, for the latest slot, marked as a catch-up."""
    recorded = {"cost": [at("2026-03-01T06:00")]}
    plan = Plan([entry("0 6 * * *")], at("2026-03-05T12:00"), recorded)
    assert summary(plan.due(at("2026-03-05T12:00"))) == [("0 6 * * *", "2026-03-05T06:00+00:00", "catch-up")]
    assert plan.due(at("2026-03-05T12:01")) == []


def test_slots_missed_while_the_machine_slept_are_made_up_for_by_one_run() -> None:
    """The clock jumps under a running server."""
    plan = Plan([entry("*/10 * * * *")], at("2026-03-01T06:05"))
    assert summary(plan.due(at("2026-03-01T09:42"))) == [
        ("*/10 * * * *", "2026-03-01T09:40+00:00", "catch-up")
    ]


def test_nothing_was_missed_where_nothing_ever_ran() -> None:
    """A first start does not run the yearly report at once."""
    assert Plan([entry("0 6 1 1 *")], at("2026-03-05T12:00")).due(at("2026-03-05T12:00")) == []


def test_a_slot_that_is_recorded_is_not_run_again() -> None:
    """A restart right after a run."""
    plan = Plan([entry("0 6 * * *")], at("2026-03-01T06:10"), {"cost": [at("2026-03-01T06:00")]})
    assert plan.due(at("2026-03-01T06:10")) == []


def test_one_analyzer_in_two_entries_misses_slots_of_each() -> None:
    """The daily entry ran yesterday; that does not hide that the weekly one missed its Monday."""
    recorded = {"cost": [at("2026-03-04T06:00"), at("2026-02-23T07:00")]}
    plan = Plan([entry("0 6 * * *"), entry("0 7 * * 1")], at("2026-03-04T12:00"), recorded)
    assert summary(plan.due(at("2026-03-04T12:00"))) == [("0 7 * * 1", "2026-03-02T07:00+00:00", "catch-up")]


def test_slots_are_those_of_the_configured_time_zone() -> None:
    """06:00 in Berlin, in winter and in summer, and across the change between them."""
    plan = Plan([entry("0 6 * * *")], at("2026-03-28T12:00", BERLIN))
    (due,) = plan.due(at("2026-03-29T06:00", BERLIN))
    assert due.slot.astimezone(UTC) == at("2026-03-29T04:00")


@pytest.mark.parametrize(
    ("until", "slot"),
    [
        ("2026-03-01T12:00:00", "2026-03-01T12:00"),
        ("2026-03-01T12:00:59.9", "2026-03-01T12:00"),
        ("2026-03-01T11:59:59.9", "2026-03-01T11:59"),
    ],
)
def test_the_latest_slot_is_never_in_the_future(until: str, slot: str) -> None:
    assert latest_slot("* * * * *", at(until)) == at(slot)


def test_the_command_carries_what_the_child_must_not_guess(tmp_path: Path) -> None:
    """Slot in UTC, options over the analyzer's settings, the server's time zone and directory."""
    config = Config(data_dir=tmp_path, timezone="Europe/Berlin", analyzers={"cost": {"by": ["model"]}})
    due = Due(entry("0 6 * * *", since="7d"), at("2026-03-01T06:00", BERLIN), "catch-up")
    command = analyzer_command(config, due)
    words = dict(zip(command[5::2], command[6::2], strict=True))
    assert command[1:3] == ["-m", "collector.limited"]
    assert command[4] == "collector.cli.analyze"
    assert words["--run-scheduled"] == "cost"
    assert words["--slot"] == "2026-03-01T05:00:00+00:00"
    assert words["--trigger"] == "catch-up"
    assert json.loads(words["--options"]) == {"by": ["model"], "since": "7d"}
    assert (words["--timezone"], words["--data-dir"]) == ("Europe/Berlin", str(tmp_path))


def test_the_limits_of_the_server_hold_in_the_child(tmp_path: Path) -> None:
    """Whether they were set by flag, variable or file; the file is not read a second time."""
    config = Config(data_dir=tmp_path, sql={"time_limit_seconds": 7.5, "memory_limit": "300MB"})
    environment = child_environment(config, {"HOME": "/h", "SPANLEDGER_CONFIG": "/gone.yaml"})
    child = load_config(None, {}, environment)
    assert (child.sql, environment["HOME"]) == (config.sql, "/h")


def run_schedule(
    tmp_path: Path, code: str, until: Callable[[Counted], bool], run_seconds: float = 20, **options: Any
) -> Counted:
    """A scheduler whose every run executes ``code``, with one entry that has just missed a slot."""
    config = Config(data_dir=tmp_path, schedule=[{"analyzer": "cost", "cron": "* * * * *"}])
    counted = Counted()

    async def recorded() -> dict[str, list[dt.datetime]]:
        now = dt.datetime.now(UTC).replace(second=0, microsecond=0)
        return {"cost": [now - dt.timedelta(minutes=5)]}

    async def scenario() -> None:
        scheduler = Scheduler(
            config,
            counted,
            command_for=lambda _due: [sys.executable, "-c", code],
            recorded=recorded,
            run_seconds=run_seconds,
        )
        scheduler.start()
        async with asyncio.timeout(20):
            while not until(counted):
                await asyncio.sleep(0.02)
        await scheduler.stop()

    asyncio.run(scenario())
    return counted


def test_a_run_is_a_child_process_and_its_end_is_counted(tmp_path: Path) -> None:
    """Exit code 0 is ok, any other failed."""
    assert run_schedule(tmp_path, "", lambda c: bool(c.outcomes)).outcomes == ["ok"]
    assert run_schedule(tmp_path, "raise SystemExit(2)", lambda c: bool(c.outcomes)).outcomes == ["failed"]


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """Its process is gone afterwards."""
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    assert run_schedule(tmp_path, code, lambda c: bool(c.outcomes), run_seconds=1).outcomes == ["timeout"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_stopping_ends_a_run_in_progress(tmp_path: Path) -> None:
    """The server's stop does not wait for an analyzer."""
    pid = tmp_path / "pid"
    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    run_schedule(tmp_path, code, lambda _c: pid.exists() and pid.read_text() != "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def limited(code: str, tmp_path: Path, memory: int, hold_stdin: float) -> tuple[int, bytes]:
    """Exit code and output of ``code`` as a limited child; its standard input closes after some seconds."""
    (tmp_path / "payload.py").write_text(code)
    command = [sys.executable, "-m", "collector.limited", str(memory), "payload", "an argument"]

    async def scenario() -> tuple[int, bytes]:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        asyncio.get_running_loop().call_later(hold_stdin, process.stdin.close)
        output = await process.stdout.read()
        return await process.wait(), output

    return asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_limited_child_runs_its_module_with_its_arguments(tmp_path: Path) -> None:
    """As `python -m` would, at lower priority."""
    code = "import os, sys; print(__name__, sys.argv[1:], os.nice(0) >= 10)"
    assert limited(code, tmp_path, 1 << 32, 10) == (0, b"__main__ ['an argument'] True\n")


def test_a_limited_child_cannot_take_more_memory_than_it_may(tmp_path: Path) -> None:
    """MemoryError in the child instead of the kernel's choice of a victim on the machine."""
    code = "try:\n    bytes(2 << 30)\nexcept MemoryError:\n    print('refused')"
    assert limited(code, tmp_path, 1 << 30, 10) == (0, b"refused\n")


def test_a_limited_child_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    """Standard input closes, as it does at the parent's kill -9: the child is gone long before its minute."""
    code, _ = limited("import time; time.sleep(60)", tmp_path, 1 << 32, 1)
    assert code == 1


def test_the_memory_of_a_run_is_enough_for_a_database(tmp_path: Path) -> None:
    """The real limit must not keep DuckDB, pyarrow and their threads from starting."""
    config = Config(data_dir=tmp_path)
    code = "import duckdb, pyarrow; print(duckdb.sql('SELECT sum(range) FROM range(1000000)').fetchone()[0])"
    memory = int(limited_command(config, "x")[3])
    assert limited(code, tmp_path, memory, 15) == (0, b"499999500000\n")


def test_output_of_a_child_is_returned() -> None:
    """And a child that writes much is read while it runs."""
    coroutine: Coroutine[Any, Any, tuple[int, bytes]] = run_child(
        [sys.executable, "-c", "print('x' * 1_000_000)"], 20, asyncio.subprocess.PIPE
    )
    code, output = asyncio.run(coroutine)
    assert (code, len(output)) == (0, 1_000_001)

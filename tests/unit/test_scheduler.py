"""When analyzers run: slots of cron expressions, missed ones, real child processes within limits."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import shlex
import sys
import zoneinfo
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from collector import schedule_state
from collector.config import Config, ScheduledRun
from collector.config_values import parse_size
from collector.schedule_state import Done, State, entry_key
from collector.scheduler import MEMORY_BESIDE_DATABASE, Due, Plan, Scheduler, latest_slot, order, run_child
from collector.server import NOT_FOR_CHILDREN
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
    daily = entry("0 6 * * *")
    plan = Plan([daily], at("2026-03-05T12:00"), {entry_key(daily): at("2026-03-01T06:00")})
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


def test_a_slot_that_was_dealt_with_is_not_run_again() -> None:
    """A restart right after a run."""
    daily = entry("0 6 * * *")
    plan = Plan([daily], at("2026-03-01T06:10"), {entry_key(daily): at("2026-03-01T06:00")})
    assert plan.due(at("2026-03-01T06:10")) == []


def test_one_analyzer_in_two_entries_misses_slots_of_each() -> None:
    """The daily entry ran today, at the time of the weekly one; that does not hide that the weekly one missed its
    Monday. Guarantee: entries are told apart by what stands in them, not by their place."""
    daily, weekly = entry("0 7 * * *"), entry("0 7 * * 1")
    dealt_with = {entry_key(daily): at("2026-03-04T07:00"), entry_key(weekly): at("2026-02-23T07:00")}
    for entries in ([daily, weekly], [weekly, daily]):
        plan = Plan(entries, at("2026-03-04T12:00"), dealt_with)
        assert summary(plan.due(at("2026-03-04T12:00"))) == [
            ("0 7 * * 1", "2026-03-02T07:00+00:00", "catch-up")
        ]


def test_an_entry_that_was_changed_has_missed_nothing() -> None:
    """What stands in it now never ran."""
    dealt_with = {entry_key(entry("0 6 * * *")): at("2026-03-01T06:00")}
    assert (
        Plan([entry("0 6 * * *", since="7d")], at("2026-03-05T12:00"), dealt_with).due(at("2026-03-05T12:00"))
        == []
    )


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


def test_the_order_carries_what_the_child_must_not_guess(tmp_path: Path) -> None:
    """Slot in UTC, and the configuration as the server has it, wherever it was set: what it says of accounts, analyzers
    and limits, the entry that is due and no other. Guarantee: a config that does not go through JSON is no config."""
    config = Config(
        data_dir=tmp_path,
        timezone="Europe/Berlin",
        accounts=[{"name": "coding", "match": {"provider": "openai"}, "plan_tier": "pro"}],
        analyzers={"cost": {"by": ["model"]}},
        schedule=[entry("0 7 * * *"), entry("0 6 * * *", since="7d")],
        sql={"time_limit_seconds": 7.5, "memory_limit": "300MB"},
    )
    due = Due(config.schedule[1], at("2026-03-01T06:00", BERLIN), "catch-up")
    line = order(config.model_dump(mode="json", exclude=NOT_FOR_CHILDREN), config, due)
    told = json.loads(line)
    assert line.count(b"\n") == 1
    assert (told["slot"], told["trigger"]) == ("2026-03-01T05:00:00+00:00", "catch-up")
    assert Config.model_validate(told["config"]) == config.model_copy(
        update={"schedule": config.schedule[1:]}
    )


def run_schedule(
    tmp_path: Path, script: str, until: Callable[[Counted], bool], run_seconds: float = 100
) -> Counted:
    """A scheduler whose every run is that script of the shell, with one entry that has just missed a slot."""
    config = Config(data_dir=tmp_path, schedule=[{"analyzer": "cost", "cron": "* * * * *"}])
    counted = Counted()
    now = dt.datetime.now(UTC).replace(second=0, microsecond=0)
    missed = Done(now - dt.timedelta(minutes=5))
    schedule_state.write(tmp_path, State({entry_key(config.schedule[0]): missed}))

    async def scenario() -> None:
        command = ["sh", "-c", script]
        scheduler = Scheduler(config, {}, counted, command=command, run_seconds=run_seconds)
        scheduler.start()
        async with asyncio.timeout(100):
            while not until(counted):
                await asyncio.sleep(0.02)
        await scheduler.stop()

    asyncio.run(scenario())
    return counted


def test_a_run_is_a_child_process_and_its_end_is_counted(tmp_path: Path) -> None:
    """Its exit code says what came of it; any that it does not know is that of a child that broke down."""
    for code, outcome in ((0, "ok"), (2, "failed"), (3, "timeout"), (4, "skipped"), (1, "failed")):
        counted = run_schedule(tmp_path, f"exit {code}", lambda c: bool(c.outcomes))
        assert counted.outcomes == [outcome]


def sleeper(pid: Path) -> str:
    """It says which process it is."""
    return f"echo $$ > {shlex.quote(str(pid))}; exec sleep 600"


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """Its process is gone afterwards."""
    pid = tmp_path / "pid"
    counted = run_schedule(tmp_path, sleeper(pid), lambda c: bool(c.outcomes), run_seconds=2)
    assert counted.outcomes == ["timeout"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_stopping_ends_a_run_in_progress(tmp_path: Path) -> None:
    """The server's stop does not wait for an analyzer."""
    pid = tmp_path / "pid"
    run_schedule(tmp_path, sleeper(pid), lambda _c: pid.exists() and pid.read_text() != "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def limited(code: str, tmp_path: Path, memory: int, *, abandoned: bool = False) -> tuple[int, bytes]:
    """Exit code and output of ``code`` in a limited child; its standard input closes when it is over, or, of one that
    is to be abandoned, when it has said something.
    """
    script = tmp_path / "payload.py"
    script.write_text(f"from collector.limited import be_limited\nbe_limited({memory})\n{code}")

    async def scenario() -> tuple[int, bytes]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(script)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        output = await process.stdout.readline()
        if abandoned:
            process.stdin.close()
        output += await process.stdout.read()
        return await process.wait(), output

    return asyncio.run(asyncio.wait_for(scenario(), 100))


def test_a_limited_child_yields_the_processor(tmp_path: Path) -> None:
    """Receiving and loading come first."""
    assert limited("import os; print(os.nice(0) >= 10)", tmp_path, 1 << 32) == (0, b"True\n")


def test_a_limited_child_cannot_take_more_memory_than_it_may(tmp_path: Path) -> None:
    """MemoryError in the child instead of the kernel's choice of a victim on the machine."""
    code = "try:\n    bytes(2 << 30)\nexcept MemoryError:\n    print('refused')"
    assert limited(code, tmp_path, 1 << 30) == (0, b"refused\n")


def test_a_limited_child_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    """Standard input closes, as it does at the parent's kill -9: the child is gone long before its ten minutes."""
    said = "import time; print('here', flush=True); time.sleep(600)"
    assert limited(said, tmp_path, 1 << 32, abandoned=True) == (1, b"here\n")


def test_the_memory_of_a_run_is_enough_for_a_database(tmp_path: Path) -> None:
    """The real limit must not keep DuckDB, pyarrow and their threads from starting."""
    code = "import duckdb, pyarrow; print(duckdb.sql('SELECT sum(range) FROM range(1000000)').fetchone()[0])"
    memory = parse_size(Config(data_dir=tmp_path).sql.memory_limit) + MEMORY_BESIDE_DATABASE
    assert limited(code, tmp_path, memory) == (0, b"499999500000\n")


def test_output_of_a_child_is_returned() -> None:
    """And a child that writes much is read while it runs."""
    coroutine: Coroutine[Any, Any, tuple[int, bytes]] = run_child(
        [sys.executable, "-c", "print('x' * 1_000_000)"], 100, asyncio.subprocess.PIPE
    )
    code, output = asyncio.run(coroutine)
    assert (code, len(output)) == (0, 1_000_001)

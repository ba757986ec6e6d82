"""One scheduled run as the scheduler starts it: recorded once, skipped where nothing changed, made up for once."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from analyzers import registry
from collector import runs, schedule_state, scheduled_run
from collector.config import Config
from collector.schedule_state import entry_key
from collector.scheduled_run import Order, carry_out
from collector.scheduler import COMMAND, EXIT_CODES, Due, order
from collector.server import NOT_FOR_CHILDREN
from collector.store.lake import Lake
from collector.store.lock import LockTimeout, file_lock, writer_lock
from collector.store.maintenance import Maintenance
from tests.calls_table import call, copied_lake, insert_calls

SLOT = dt.datetime(2026, 3, 11, 6, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
NOON = dt.datetime(2026, 3, 10, 12)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Two calls of the day before the slot."""
    return copied_lake(tmp_path / "data", call(call_id="a"), call(call_id="b"))


def config(data_dir: Path, **entry: Any) -> Config:
    """With one entry; without more said, `cost` of the 24 hours before six o'clock."""
    rest = {name: entry.pop(name) for name in ("accounts", "analyzers_settings") if name in entry}
    names = {} if "analyzers" in entry else {"analyzer": "cost"}
    return Config(
        data_dir=data_dir,
        schedule=[{**names, "cron": "0 6 * * *", **entry}],
        accounts=rest.get("accounts", ()),
        analyzers=rest.get("analyzers_settings", {}),
    )


def run(of: Config, slot: dt.datetime = SLOT, trigger: runs.Trigger = "schedule") -> runs.Status:
    return carry_out(Order(of, runs.Occasion(trigger, slot)))


def child(of: Config, slot: dt.datetime = SLOT) -> subprocess.Popen[bytes]:
    """The real process with its order on standard input, which stays open."""
    told = order(
        of.model_dump(mode="json", exclude=NOT_FOR_CHILDREN), of, Due(of.schedule[0], slot, "schedule")
    )
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(told)
    process.stdin.flush()
    return process


def recorded(data_dir: Path, columns: str = "analyzer, trigger, status") -> list[tuple[Any, ...]]:
    with Lake.open(data_dir, read_only=True) as opened:
        return opened.connection.execute(f"SELECT {columns} FROM runs ORDER BY started_at").fetchall()


def store(data_dir: Path, *rows: dict[str, Any]) -> None:
    with Lake.open(data_dir) as opened, writer_lock(data_dir):
        opened.connection.begin()
        insert_calls(opened.connection, "lake.calls", rows)
        opened.connection.commit()


def test_a_run_is_a_process_that_prints_nothing_and_is_recorded(lake: Path):
    """A slot at six with days: 1 covers the 10th of March, in which all calls stand. What is recorded names every
    amount as the command does. Guarantee: what the server's configuration says of accounts reaches its child, whose own
    environment says nothing."""
    accounts = [
        {
            "name": "coding",
            "plan_tier": "pro",
            "fee_per_month": {"amount": 31},
            "match": {"provider": "openai"},
        }
    ]
    store(
        lake,
        call(
            billing_account="coding",
            plan_tier="pro",
            pricing_mode="subscription",
            start_time=NOON,
            cost_usd=Decimal(9),
        ),
    )
    options = {"days": 1, "by": ["provider"]}
    of = config(lake, analyzers=["cost", "accounts"], accounts=accounts, options=options)
    with child(of) as process:
        assert (process.wait(60), process.stdout.read(), process.stderr.read()) == (0, b"", b"")
    cost, of_accounts = recorded(
        lake, "analyzer, trigger, status, window_start, window_end, settings, result"
    )
    for run_of, name in ((cost, "cost"), (of_accounts, "accounts")):
        assert run_of[:3] == (name, "schedule", "ok")
        assert run_of[3:5] == (dt.datetime(2026, 3, 10), dt.datetime(2026, 3, 11))
    assert json.loads(cost[5]) == options
    assert {row["provider"] for row in json.loads(cost[6])["rows"]} == {"openai"}
    assert sum(row["calls"] for row in json.loads(cost[6])["rows"]) == 3
    fees = {row["account"]: row["fee_usd"] for row in json.loads(of_accounts[6])["rows"]}
    assert fees["coding"] == 1


def test_a_run_that_fails_is_recorded_and_says_why(lake: Path):
    """In the lake and in the log; the exit code tells the scheduler."""
    broken = config(lake).model_copy(
        update={"schedule": (config(lake).schedule[0].model_copy(update={"options": {"since": "soon"}}),)}
    )
    with child(broken) as process:
        assert process.wait(60) == EXIT_CODES["failed"]
    ((status, error),) = recorded(lake, "status, error")
    assert status == "failed"
    assert "'soon' is not a length of time" in error


def test_several_analyzers_are_one_run_over_one_window(lake: Path):
    """Each is recorded with its own settings: what the configuration says of it, and of the entry's options those that
    it has."""
    of = config(
        lake,
        analyzers=["unit-cost", "cost"],
        options={"since": "2d", "by": "agent"},
        analyzers_settings={"unit-cost": {"top": 3}},
    )
    assert run(of) == "ok"
    assert [
        (name, json.loads(settings), start)
        for name, settings, start in recorded(lake, "analyzer, settings, window_start")
    ] == [
        ("unit-cost", {"since": "2d", "by": "agent", "top": 3}, dt.datetime(2026, 3, 9, 6)),
        ("cost", {"since": "2d", "by": "agent"}, dt.datetime(2026, 3, 9, 6)),
    ]


def test_all_are_all_that_there_are(lake: Path):
    assert run(config(lake, analyzers="all")) == "ok"
    assert sorted(name for (name,) in recorded(lake, "analyzer")) == list(registry.discover())


def test_a_lake_in_which_nothing_changes_is_looked_at_once(lake: Path):
    """Guarantee: the first of the times at which nothing had been stored is recorded with its reason, the following are
    not, and after the next call that is stored there is a run again."""
    of = config(lake)
    assert [run(of, SLOT + days * DAY) for days in range(3)] == ["ok", "skipped", "skipped"]
    store(lake, call(start_time=NOON + 3 * DAY))
    assert [run(of, SLOT + days * DAY) for days in (3, 4, 5)] == ["ok", "skipped", "skipped"]
    told = recorded(lake, "status, error, day(scheduled_at)")
    assert [(status, day) for status, _, day in told] == [
        ("ok", 11),
        ("skipped", 12),
        ("ok", 14),
        ("skipped", 15),
    ]
    assert told[1][1].startswith("nothing was stored since the run of 20")


def test_what_was_stored_too_late_for_the_last_window_is_looked_at_in_the_next(lake: Path):
    """Scenario: a call of eight o'clock is there when the run of six o'clock takes place late, and none comes after it.
    Guarantee: it is in the window of the next day's run, which therefore takes place."""
    store(lake, call(start_time=dt.datetime(2026, 3, 11, 8)))
    of = config(lake)
    assert [run(of, SLOT, "catch-up"), run(of, SLOT + DAY), run(of, SLOT + 2 * DAY)] == [
        "ok",
        "ok",
        "skipped",
    ]
    calls = [
        sum(row["calls"] for row in json.loads(result)["totals"])
        for (result,) in recorded(lake, "result")
        if result
    ]
    assert calls == [2, 1]


@pytest.mark.parametrize(
    "change", ["other prices", "other options", "an analyzer's settings", "a failed run"]
)
def test_after_a_change_there_is_a_run(lake: Path, change: str, monkeypatch: pytest.MonkeyPatch):
    """Guarantee: a run is skipped only after one that gave a result, over the same rows, by the same configuration."""
    of = config(lake)
    assert run(of, SLOT) == "ok"
    if change == "other prices":
        with Lake.open(lake) as opened, writer_lock(lake):
            opened.connection.execute("UPDATE lake.calls SET cost_usd = 2 WHERE call_id = 'a'")
    elif change == "other options":
        of = config(lake, options={"by": "model"})
    elif change == "an analyzer's settings":
        of = config(lake, analyzers_settings={"cost": {"by": "model"}})
    else:
        with monkeypatch.context() as patched:
            patched.setattr(
                runs,
                "settle",
                lambda *_: [runs.Run("cost", runs.BY_HAND, {}, None, SLOT, runs.Outcome("failed", "x"))],
            )
            store(lake, call(start_time=NOON))
            assert run(of, SLOT + 2 * DAY) == "failed"
    assert run(of, SLOT + 3 * DAY) == "ok"


def test_maintenance_is_no_change(lake: Path, monkeypatch: pytest.MonkeyPatch):
    """Files are merged every few minutes; nobody stored anything by that."""
    for number in range(3):
        store(lake, call(call_id=f"c{number}"))
    of = config(lake)
    assert run(of, SLOT) == "ok"
    monkeypatch.setattr("collector.store.maintenance._WORTH_MERGING_TINY", 2)
    with Lake.open(lake) as opened:
        assert Maintenance(opened).step().action == "merge"
    assert run(of, SLOT + 2 * DAY) == "skipped"


def test_a_run_that_was_killed_is_found_and_made_up_for_once(lake: Path):
    """Scenario: kill -9 in the middle, as the kernel does where memory is short; then a run of the same slot.
    Guarantee: both stand in the lake, the first as failed, and its slot was never taken for done."""
    of = config(lake)
    kill_in_the_middle(of)
    assert recorded(lake) == []
    assert schedule_state.read(lake).done == {}
    assert run(of, SLOT, "catch-up") == "ok"
    assert recorded(lake, "trigger, status, scheduled_at, error LIKE 'the run was ended before%'") == [
        ("schedule", "failed", SLOT.replace(tzinfo=None), True),
        ("catch-up", "ok", SLOT.replace(tzinfo=None), None),
    ]
    assert schedule_state.read(lake).done[entry_key(of.schedule[0])].slot == SLOT


def test_a_run_that_is_killed_each_time_is_given_up(lake: Path, monkeypatch: pytest.MonkeyPatch):
    """Scenario: it is killed, and so is the run that makes up for it. Guarantee: no third one begins, and the next slot
    has its run as always."""
    of = config(lake)

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    for trigger in ("schedule", "catch-up"):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(runs, "settle", killed)
            run(of, SLOT, trigger)
    assert run(of, SLOT, "catch-up") == "failed"
    assert recorded(lake) == [("cost", "schedule", "failed"), ("cost", "catch-up", "failed")]
    assert run(of, SLOT + DAY) == "ok"


def test_two_scheduled_runs_never_run_at_one_time(lake: Path, monkeypatch: pytest.MonkeyPatch):
    """The second waits for the first, and gives up where that takes too long; a run by hand waits for nobody."""
    of = config(lake)
    monkeypatch.setattr(scheduled_run, "_LOCK_SECONDS", 0.1)
    with file_lock(lake / schedule_state.LOCK):
        with pytest.raises(LockTimeout):
            run(of)
        monkeypatch.setattr(scheduled_run, "_LOCK_SECONDS", 20)
        waiting = threading.Thread(target=run, args=(of,))
        waiting.start()
        time.sleep(0.3)
        assert recorded(lake) == []
    waiting.join()
    assert recorded(lake) == [("cost", "schedule", "ok")]


def test_a_file_that_cannot_be_read_is_none(lake: Path):
    """What is lost with it is only that nothing is skipped or made up for."""
    (lake / schedule_state.STATE).write_text("{")
    assert run(config(lake)) == "ok"


def kill_in_the_middle(of: Config) -> None:
    """The run is done and waits for the lake's writer lock when it is killed."""
    with writer_lock(of.data_dir), child(of) as process:
        deadline = time.monotonic() + 60
        while schedule_state.read(of.data_dir).running is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

"""The schedule of a real server: what was missed is made up for, what is killed in the middle is found."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from collector import schedule_state
from collector.config import load_config
from collector.schedule_state import Done, State, entry_key
from tests.calls_table import call, lake_with_calls
from tests.support import Collector, running, spawn_collector, wait_until

# Due once a year, so that nothing is due but what was missed.
CONFIG = """
accounts:
  - {name: coding, match: {provider: openai}, plan_tier: pro, fee_per_month: {amount: 31}}
schedule:
  - {analyzers: all, cron: "0 0 1 1 *", options: {days: 30}}
"""


def missed_lake(tmp_path: Path) -> Path:
    """A lake whose yearly report was made for the year before last and not since; its call is of December."""
    now = dt.datetime.now(dt.UTC)
    lake = lake_with_calls(
        tmp_path / "data",
        call(
            start_time=dt.datetime(now.year - 1, 12, 15),
            billing_account="coding",
            plan_tier="pro",
            pricing_mode="subscription",
        ),
    )
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    (entry,) = load_config(path, {}, {}).schedule
    before = dt.datetime(now.year - 1, 1, 1, tzinfo=dt.UTC)
    schedule_state.write(lake, State({entry_key(entry): Done(before)}))
    return lake


def recorded(server: Collector) -> dict[tuple[str, str], set[str]]:
    """The analyzers by trigger and status."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in server.sql("SELECT analyzer, trigger, status FROM runs"):
        found.setdefault((row["trigger"], row["status"]), set()).add(row["analyzer"])
    return found


def accounts_of(server: Collector) -> list[Any]:
    return server.sql(
        "SELECT result -> 'rows' -> 0 ->> 'account' AS account, (result -> 'rows' -> 0 -> 'fee_usd')::DOUBLE AS fee"
        " FROM runs WHERE analyzer = 'accounts' AND status = 'ok'"
    )


def test_a_run_that_dies_with_the_server_is_found_at_the_next_start(tmp_path: Path) -> None:
    """Scenario: the server starts, makes up for what was missed and is killed (-9) in the middle of that; then it
    starts twice. Guarantee: the killed run stands in the lake as failed and is not tried a third time; a slot that is
    missed after it has its run, with the accounts of the configuration.
    """
    lake = missed_lake(tmp_path)
    server = spawn_collector(lake, config=CONFIG)
    try:
        killed = wait_until(lambda: schedule_state.read(lake).running, 60, 0.005)
    finally:
        server.kill()
    assert killed.trigger == "catch-up"
    with running(lake, config=CONFIG) as server:
        told = wait_until(lambda: recorded(server), 60)
        assert told == {("catch-up", "failed"): set(killed.analyzers)}
        wait_until(lambda: 'spanledger_scheduled_runs_total{outcome="failed"} 1.0' in server.metrics())
    state = schedule_state.read(lake)
    ((key, done),) = state.done.items()
    assert (done.slot, state.running, state.ended) == (killed.slot, None, [])
    schedule_state.write(lake, State({key: Done(done.slot - dt.timedelta(days=1))}))
    with running(lake, config=CONFIG) as server:
        told = wait_until(lambda: recorded(server).get(("catch-up", "ok")), 60)
        assert told == set(killed.analyzers)
        assert accounts_of(server) == [{"account": "coding", "fee": 30.0}]

"""A running server maintains its lake when the time has come: in a child, once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from collector.config import Config
from collector.maintainer import Maintainer
from collector.upkeep_state import LastRun, last_run, remember
from tests.store_support import call, store, traces
from tests.support import until

# Never due in a test but by what is remembered.
YEARLY = "0 0 1 1 *"


def config_of(data_dir: Path) -> Config:
    return Config.model_validate(
        {"data_dir": data_dir, "maintenance": {"cron": YEARLY}, "retention": {"spans": 7}}
    )


async def run_until(config: Config, condition: object) -> None:
    keeper = Maintainer(config, config.model_dump(mode="json"), first_look_seconds=0)
    keeper.start()
    try:
        async with asyncio.timeout(30):
            await until(condition)
    finally:
        await keeper.stop()


def ended_since(data_dir: Path, moment: float) -> bool:
    last = last_run(data_dir)
    return last is not None and last.ended_at >= moment


def test_a_time_that_was_missed_is_made_up_for_with_the_configuration_of_the_server(tmp_path: Path) -> None:
    """Scenario: the machine slept through its time. The child deletes what the server's retention says, and the next
    look finds nothing due.
    """
    data_dir, started = tmp_path / "data", time.time()
    with store(data_dir) as opened:
        opened.load(traces(call(1, 2)))
        remember(data_dir, LastRun(0.0))
        asyncio.run(run_until(config_of(data_dir), lambda: ended_since(data_dir, started)))
        assert opened.ask("SELECT (SELECT count(*) FROM spans), (SELECT count(*) FROM calls)") == [(0, 0)]
    assert not Maintainer(config_of(data_dir), {})._is_due()


def test_a_new_lake_waits_for_its_first_time(tmp_path: Path) -> None:
    """Guarantee: a start has enough to do; the time of the first start is remembered."""
    data_dir, started = tmp_path / "data", time.time()
    data_dir.mkdir()
    config = config_of(data_dir)
    asyncio.run(run_until(config, lambda: ended_since(data_dir, started)))
    assert not Maintainer(config, {})._is_due()


def test_a_failed_run_waits_for_the_next_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Scenario: there is no lake that the child could open."""
    data_dir, started = tmp_path / "data", time.time()
    data_dir.mkdir()
    remember(data_dir, LastRun(0.0, "checked"))
    asyncio.run(run_until(config_of(data_dir), lambda: ended_since(data_dir, started)))
    last = last_run(data_dir)
    assert last is not None
    assert last.twins_checked_to == "checked"
    assert "maintenance failed" in caplog.text


@pytest.mark.parametrize("content", [b"", b"[]", b'{"ended_at": "x"}'], ids=["empty", "list", "text"])
def test_a_broken_note_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "maintenance.json").write_bytes(content)
    assert last_run(tmp_path) is None

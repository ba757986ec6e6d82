"""The server's daily maintenance: when it is due, a child process carries it out. ``python -m collector.maintainer``

The child gets the configuration as one JSON line on standard input, prints its report as JSON and ends with its parent.
A time that passed while no server ran is made up for by one run at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import sys
import time
import zoneinfo
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from typing import Any, Final

import orjson

from collector.config import Config
from collector.config_values import parse_size
from collector.limited import be_limited
from collector.load_orders import lines_of
from collector.log import Log, configure
from collector.memory import GIVE_MEMORY_BACK
from collector.scheduler import MEMORY_BESIDE_DATABASE, latest_slot, next_slot, run_child
from collector.upkeep_state import LastRun, last_run, remember

COMMAND: Final = (sys.executable, "-m", "collector.maintainer")
# A killed run has done what it has done, and the next goes on from there.
_RUN_SECONDS: Final = 6 * 3600.0
# Sleeping in steps notices a clock that jumped (a suspended machine, a time server).
_LONGEST_SLEEP: Final = 60.0
# A start has enough to do.
_FIRST_LOOK_SECONDS: Final = 60.0

log = Log("maintenance")


class Maintainer:
    """Starts the child when the configured time has come."""

    def __init__(
        self,
        config: Config,
        child_config: Mapping[str, Any],
        *,
        first_look_seconds: float = _FIRST_LOOK_SECONDS,
    ) -> None:
        """``child_config``: what the child may know of the configuration, as JSON has it."""
        self._config = config
        self._line = orjson.dumps(child_config) + b"\n"
        self._first_look_seconds = first_look_seconds
        self._zone = zoneinfo.ZoneInfo(config.timezone)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Call when the lake is there."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop, a run in progress included."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        try:
            if last_run(self._config.data_dir) is None:
                remember(self._config.data_dir, LastRun(time.time()))
            await asyncio.sleep(self._first_look_seconds)
            while True:
                if self._is_due():
                    await self._run()
                await asyncio.sleep(min(self._seconds_to_next(), _LONGEST_SLEEP))
        except OSError as error:  # tidying up is not worth the server's life
            log.failed("maintenance ended", error)

    def _is_due(self) -> bool:
        before = last_run(self._config.data_dir)
        return (
            before is None
            or latest_slot(self._config.maintenance.cron, self._now()).timestamp() > before.ended_at
        )

    def _seconds_to_next(self) -> float:
        now = self._now()
        return (next_slot(self._config.maintenance.cron, now) - now).total_seconds()

    def _now(self) -> dt.datetime:
        return dt.datetime.now(self._zone)

    async def _run(self) -> None:
        """Whatever comes of it, it is not tried again before the next time."""
        code, output = None, b""
        try:
            environment = GIVE_MEMORY_BACK | os.environ
            code, output = await run_child(COMMAND, _RUN_SECONDS, PIPE, environment, self._line)
        except (TimeoutError, OSError) as error:
            log.failed("maintenance could not run to its end", error)
        if code == 0:
            log.info("maintenance ran", **_in_short(orjson.loads(output)))
        else:
            if code is not None:
                log.warning("maintenance failed", exit_code=code)
            before = last_run(self._config.data_dir)
            remember(self._config.data_dir, LastRun(time.time(), before.twins_checked_to if before else ""))


def _in_short(report: Mapping[str, Any]) -> dict[str, Any]:
    """Of the report of `maintain --json` the numbers that are not 0."""
    flat = {
        **{f"{name}_deleted": rows for name, rows in report["retention"].items()},
        "twins": report["twins"]["spans"],
        "orphans": report["orphans"]["files"],
        "missing_files": len(report["missing_files"]),
        **{name: value for name, value in report.items() if isinstance(value, int | float)},
    }
    return {name: value for name, value in flat.items() if value}


def main() -> int:
    """The child; its exit code."""
    config = Config.model_validate(orjson.loads(next(lines_of(sys.stdin.fileno()))))
    be_limited(parse_size(config.loader.memory_limit) + MEMORY_BESIDE_DATABASE)
    configure(config.log_level)
    from collector.upkeep import as_json, maintain  # noqa: PLC0415 - the server never needs what this imports

    try:
        report = as_json(maintain(config), dry_run=False)
    except Exception as error:
        log.failed("maintenance stopped; what was done stays", error)
        return 1
    sys.stdout.buffer.write(orjson.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

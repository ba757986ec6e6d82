"""What is looked at once a second: readiness, for whom it concerns, and refusals, for the log.

Nothing is logged where a request is refused: whoever sends nonsense would fill the log. A line a minute for each reason
says how much of it there was.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from collector.health import Health
from collector.log import Log
from collector.telemetry import Telemetry
from semconv.faults import FAULT_KINDS

_SECONDS: Final = 1.0
_SUMMARY_SECONDS: Final = 60.0

log = Log("server")


class Watch:
    """Until it is cancelled. ``tell`` is awaited with every change of readiness, first with what it is now."""

    def __init__(self, health: Health, telemetry: Telemetry, tell: Callable[[bool], Awaitable[None]]) -> None:
        self._health = health
        self._tell = tell
        self._told: bool | None = None
        self._refusals = Refusals(telemetry)

    async def run(self) -> None:
        """Look once a second."""
        while True:
            try:
                await self.look()
            except Exception as error:  # whatever it was, the next look must come
                log.failed("readiness cannot be told", error)
            await asyncio.sleep(_SECONDS)

    async def look(self) -> None:
        """Look now."""
        ready = self._health.ready()
        if ready != self._told:
            self._log_change(ready)
            self._told = ready
            await self._tell(ready)
        # A stop is the last chance.
        self._refusals.log(math.inf if self._health.stopping else time.monotonic())

    def _log_change(self, ready: bool) -> None:
        health = self._health
        if ready:
            log.info("ready", **health.ports)
        elif self._told and not health.stopping:
            log.warning("not ready", spool=health.spool.state, error=health.spool_error())


class Refusals:
    """The summary of what was refused, for each reason at once when it begins and then once a minute."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._counts: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}

    def log(self, now: float) -> None:
        """Write the lines that are due at ``now`` (seconds, monotonic)."""
        self._counts.update(self._telemetry.take_refusals())
        for reason in [reason for reason in self._counts if now >= self._not_before.get(reason, 0.0)]:
            self._not_before[reason] = now + _SUMMARY_SECONDS
            what = "items" if reason in FAULT_KINDS else "requests"
            log.warning(f"refused {what}", reason=reason, count=self._counts.pop(reason))

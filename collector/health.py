"""What /readyz and the gRPC health service say: ports, spool, lake and loader, and how far the lake is behind."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from collector import quarantine
from collector.children import LoaderKeeper
from collector.spool import Position, Spool, State

_WHY: Final[dict[State, str]] = {
    "full": "the loader is behind or stopped",
    "stalled": "the disk does not answer",
}
# A message of DuckDB can be pages; its first line says what is the matter.
_LONGEST_ERROR: Final = 300
# Positions are remembered this far apart: a backlog of hours stays a list of thousands.
_STEP_SECONDS: Final = 0.5


class Lag:
    """The age of the oldest request that is durable and not loaded."""

    def __init__(self) -> None:
        self._unloaded: deque[tuple[Position, float]] = deque()
        self._loaded: Position = (0, 0)

    def durable(self, position: Position, now: float) -> None:
        """The spool got to ``position`` at ``now`` (seconds, any epoch)."""
        if position <= self._loaded or position[1] == 0:
            return
        if self._unloaded and now - self._unloaded[-1][1] < _STEP_SECONDS:
            # The entry keeps the time of its first request and is done with its last.
            self._unloaded[-1] = (position, self._unloaded[-1][1])
        else:
            self._unloaded.append((position, now))

    def left_over(self, end: Position, received_at: float) -> None:
        """What the last run left, up to ``end``; its oldest request came at ``received_at``."""
        if end > self._loaded:
            self._unloaded.appendleft((end, received_at))

    def loaded(self, position: Position) -> None:
        self._loaded = max(self._loaded, position)
        while self._unloaded and self._unloaded[0][0] <= self._loaded:
            self._unloaded.popleft()

    def seconds(self, now: float) -> float:
        return max(0.0, now - self._unloaded[0][1]) if self._unloaded else 0.0


@dataclass(slots=True)
class Health:
    """The state that the supervisor keeps and the admin port shows."""

    data_dir: Path
    spool: Spool
    loader: LoaderKeeper
    lag: Lag = field(default_factory=Lag)
    ports: Mapping[str, str] = field(default_factory=dict)
    lake_created: bool = False
    lake_error: str | None = None
    stopping: bool = False

    async def refresh(self) -> None:
        """Before ``ready`` and ``report``: look at what no request has shown lately. Takes 1 s at most."""
        await self.spool.check()

    def ready(self) -> bool:
        """Later trouble of the lake is not in here: requests are accepted and loaded once it is over."""
        return bool(self.ports) and self.lake_created and self.spool.state == "ok" and not self.stopping

    def spool_error(self) -> str | None:
        """Why the spool takes nothing; None while it does."""
        return self.spool.failure or _WHY.get(self.spool.state)

    def quarantined(self) -> int:
        """What lies in the quarantine now."""
        return quarantine.count(self.data_dir)

    def lag_seconds(self) -> float:
        return round(self.lag.seconds(time.time()), 3)

    def report(self) -> dict[str, Any]:
        """The body of /readyz."""
        return {
            "ready": self.ready(),
            "stopping": self.stopping,
            "ports": dict(self.ports),
            "spool": {
                "state": self.spool.state,
                "used_bytes": self.spool.used_bytes,
                "max_bytes": self.spool.max_bytes,
                "error": self.spool_error(),
            },
            "lake": {"created": self.lake_created, "error": _first_line(self.lake_error)},
            "loader": {
                "state": self.loader.state,
                "restarts": self.loader.restarts,
                "lag_seconds": self.lag_seconds(),
                "quarantined": self.quarantined(),
            },
        }


def _first_line(error: str | None) -> str | None:
    return error and error.partition("\n")[0][:_LONGEST_ERROR]

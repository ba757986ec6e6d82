"""The server's looks at its alert rules: every ``alerts.every``, in a child process.

``python -m collector.alerts.keeper N`` is that child. It gets the configuration as one JSON line on standard input,
prints on the server's standard output what goes there, and ends with its parent. Into the open file N it writes what
came of the look (_Look) as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypedDict

import orjson

from analyzers.window import parse_length
from collector.config import Config
from collector.config_values import parse_size
from collector.limited import be_limited
from collector.load_orders import lines_of
from collector.log import Log, configure
from collector.memory import GIVE_MEMORY_BACK
from collector.scheduler import MEMORY_BESIDE_DATABASE, run_child
from collector.store.lock import LockTimeout, file_lock
from collector.telemetry import ChannelKind, Outcome

if TYPE_CHECKING:
    from collector.alerts.channels import Channel
    from collector.alerts.delivery import Sent
    from collector.alerts.evaluation import Found

COMMAND: Final = (sys.executable, "-m", "collector.alerts.keeper")
# All rules and all channels; what was not sent by then waits for the next look.
_LOOK_SECONDS: Final = 600.0
# What a start left unsent should not wait for long; but a start has enough to do.
_FIRST_LOOK_SECONDS: Final = 5.0
# A few numbers, which a pipe takes at once.
_MOST_TOLD: Final = 4096
# Receiving and loading come first.
_THREADS: Final = 1
# What the child has no use for, secrets first of all.
_NOT_FOR_CHILD: Final = {
    *("tokens", "metrics_token", "tls", "grpc_endpoint", "http_endpoint", "admin_endpoint", "schedule"),
}

log = Log("alerts")


class CountsAlerts(Protocol):
    def alerts_looked_at(self, outcome: Outcome) -> None: ...

    def alerts_sent(self, channel: ChannelKind, taken: int, not_taken: int) -> None: ...


class _Look(TypedDict):
    """What came of one: how many rules could not be looked at, and by the kind of channel how many messages were taken
    and not taken."""

    rules_failed: int
    sent: dict[ChannelKind, tuple[int, int]]


class AlertKeeper:
    """Starts a child for each look; without rules none. ``looked_at``: when the last one came to its end, Unix time;
    ``rules_failed``: how many rules could not be looked at then. None before the first."""

    def __init__(
        self,
        config: Config,
        telemetry: CountsAlerts,
        *,
        command: Sequence[str] = COMMAND,
        first_look_seconds: float = _FIRST_LOOK_SECONDS,
    ) -> None:
        self._telemetry = telemetry
        self.looked_at: float | None = None
        self.rules_failed: int | None = None
        self._every = parse_length(config.alerts.every).total_seconds()
        self._has_rules = any(True for _ in config.alerts.rules.by_kind())
        self._line = orjson.dumps(config.model_dump(mode="json", exclude=_NOT_FOR_CHILD)) + b"\n"
        self._command = command
        self._first_look_seconds = min(first_look_seconds, self._every)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Call when the lake is there."""
        if self._has_rules and self._task is None:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop, a look in progress included: what was raised and not sent is sent after the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        await asyncio.sleep(self._first_look_seconds)
        while True:
            self._telemetry.alerts_looked_at(await self._look())
            await asyncio.sleep(self._every)

    async def _look(self) -> Outcome:
        reader, writer = os.pipe()
        try:
            command = (*self._command, str(writer))
            environment = GIVE_MEMORY_BACK | os.environ
            code, _ = await run_child(command, _LOOK_SECONDS, None, environment, self._line, (writer,))
        except (TimeoutError, OSError) as error:
            log.failed("a look for alerts did not come to its end", error)
            return "timeout" if isinstance(error, TimeoutError) else "failed"
        finally:
            os.close(writer)
            told = os.read(reader, _MOST_TOLD)
            os.close(reader)
        if told:
            self._hear(orjson.loads(told))
        if code != 0:
            log.warning("a look for alerts failed", exit_code=code)
        return "failed" if code else "ok"

    def _hear(self, look: _Look) -> None:
        self.looked_at, self.rules_failed = time.time(), look["rules_failed"]
        for channel, (taken, not_taken) in look["sent"].items():
            self._telemetry.alerts_sent(channel, taken, not_taken)


def look_once(config: Config) -> _Look:
    """What the child does. Raises LakeError, duckdb.Error, OSError."""
    from collector.alerts.channels import channels_of  # noqa: PLC0415 - the server never needs these
    from collector.alerts.delivery import LOCK, look, send_new  # noqa: PLC0415 - as above
    from collector.alerts.evaluation import evaluate  # noqa: PLC0415 - as above
    from collector.store.lake import Lake  # noqa: PLC0415 - as above

    memory = config.sql.memory_limit
    with (
        file_lock(config.data_dir / LOCK, timeout_seconds=0),
        Lake.open(config.data_dir, read_only=True, threads=_THREADS, memory_limit=memory) as lake,
    ):
        now = dt.datetime.now(dt.UTC)
        found = evaluate(config, lake, now)
        _log_failed(found)
        looked = look(config, lake, found, now)
        channels = list(channels_of(config.alerts.channels))
        sent = send_new(lake, channels, looked, now)
    if sent:
        taken = sum(one.error is None for one in sent)
        log.info("alerts sent", taken=taken, not_taken=len(sent) - taken)
    return {"rules_failed": len(found.failed), "sent": _counted(channels, sent)}


def _counted(channels: Iterable[Channel], sent: Sequence[Sent]) -> dict[ChannelKind, tuple[int, int]]:
    kinds = {channel.name: channel.kind for channel in channels}
    ways = Counter((kinds[one.channel], one.error is None) for one in sent)
    return {kind: (ways[kind, True], ways[kind, False]) for kind in dict.fromkeys(kinds.values())}


def _log_failed(found: Found) -> None:
    for rule, reason in found.failed.items():
        log.warning("alert rule cannot be looked at", rule=rule, reason=reason)


def main() -> int:
    """The child; its exit code."""
    config = Config.model_validate(orjson.loads(next(lines_of(sys.stdin.fileno()))))
    be_limited(parse_size(config.sql.memory_limit) + MEMORY_BESIDE_DATABASE)
    configure(config.log_level)
    try:
        os.write(int(sys.argv[1]), orjson.dumps(look_once(config)))
    except LockTimeout:
        log.info("somebody else is looking for alerts")
    except Exception as error:
        log.failed("alerts cannot be looked for", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

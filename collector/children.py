"""The loader child: started, fed with durable positions, listened to, started again when it dies.

Both pipes carry JSON lines. To the child: ``{"config": …}`` once, then ``{"durable": [segment, offset]}``,
in the end ``{"stop": true}``. From it: ``{"ready": true}``, ``{"loaded": {…}}``, ``{"error": …}`` (with
``"refused": true`` where waiting cannot help) and ``{"quarantined": {…}}``.

The child ends itself when its standard input closes, so that none outlives a supervisor that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from collector.log import Log
from collector.memory import GIVE_MEMORY_BACK
from collector.spool_files import Position

Message = Mapping[str, Any]
State = Literal["starting", "running", "restarting", "stopped"]

FIRST_DELAY: Final = 0.2
LAST_DELAY: Final = 10.0
# Group commits come up to some thousand times a second; the loader needs to hear of a few of them.
_COALESCE_SECONDS: Final = 0.01
# A `loads` row is 1 KiB; an error's text may be longer.
_LONGEST_LINE: Final = 1 << 20
_EXIT_SECONDS: Final = 2.0

log = Log("supervisor")


class LoaderKeeper:
    """Keeps one loader child running from ``start`` to ``stop``."""

    def __init__(
        self, command: Sequence[str], config: Mapping[str, Any], on_message: Callable[[Message], None]
    ) -> None:
        self.state: State = "starting"
        self.restarts = 0
        self._command = command
        self._config = config
        self._on_message = on_message
        self._durable: Position | None = None
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._progressed = False

    @property
    def pid(self) -> int | None:
        """Of the child that runs now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep())

    def tell_durable(self, position: Position) -> None:
        """The spool is durable up to here; cheap, to be called after every group commit."""
        self._durable = position
        self._news.set()

    async def stop(self, grace: float) -> None:
        """Let the loader finish what it can within ``grace`` seconds, then end it. Safe twice."""
        self._stopping.set()
        self._news.set()
        if self._task is not None:
            _, running = await asyncio.wait({self._task}, timeout=grace)
            if running:
                log.warning("loader did not stop in time", seconds=grace)
                self._kill()
            await self._task
        self.state = "stopped"

    async def _keep(self) -> None:
        delay = FIRST_DELAY / 2
        while not self._stopping.is_set():
            self._progressed = False
            code = await self._live()
            if self._stopping.is_set():
                return
            delay = FIRST_DELAY if self._progressed else min(delay * 2, LAST_DELAY)
            self.restarts += 1
            self.state = "restarting"
            log.warning("loader ended", exit_code=code, restart_in_seconds=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def _live(self) -> int | None:
        """One child from start to end; its exit code, None where it could not be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                limit=_LONGEST_LINE,
                env=GIVE_MEMORY_BACK | os.environ,
            )
        except OSError as error:
            log.failed("loader cannot be started", error)
            return None
        self._process = process
        feeder = asyncio.create_task(self._feed(process))
        try:
            await self._listen(process)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _EXIT_SECONDS)
        finally:
            self._kill()
            feeder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeder
        return await process.wait()

    async def _feed(self, process: Process) -> None:
        """Tell the child its configuration, then every news, until it is told to stop."""
        pipe = process.stdin
        assert pipe is not None  # noqa: S101 - asked for above
        told: Position | None = None
        # It died, which _listen sees too. uvloop raises RuntimeError where its end of the pipe is closed already.
        with contextlib.suppress(ConnectionError, RuntimeError):
            pipe.write(_line({"config": self._config}))
            while not (self._stopping.is_set() and told == self._durable):
                if self._durable is not None and self._durable != told:
                    told = self._durable
                    pipe.write(_line({"durable": told}))
                await pipe.drain()
                await asyncio.sleep(_COALESCE_SECONDS)
                if not self._stopping.is_set():
                    await self._news.wait()
                self._news.clear()
            pipe.write(_line({"stop": True}))
            await pipe.drain()

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None  # noqa: S101 - asked for above
        try:
            async for line in process.stdout:
                self._hear(line)
        except ValueError as error:
            log.failed("loader sent an endless line", error)

    def _hear(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            log.warning("loader printed something that is no message", bytes=len(line))
            return
        try:
            if "ready" in message:
                self.state = "running"
            self._progressed |= "loaded" in message
            self._on_message(message)
        except Exception as error:  # whatever it said, keeping it alive matters more
            log.failed("message of the loader cannot be used", error)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"

"""A gRPC server that stays up.

grpc.aio ends its whole server over one call whose path is not UTF-8: it stops listening, tells its connections
so, and leaves the calls at hand alone. Another one then takes its place behind the relay; calls at hand are
finished by the server that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc

from collector.log import Log
from collector.receivers.relay import Relay

# How soon it is noticed that a server has ended; grpc.aio tells nobody.
_LOOK_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
# What the path of a socket may be long, less a little (sun_path is 104 bytes on macOS, 108 on Linux).
_LONGEST_PATH: Final = 90
# What these two write of a path of nonsense, and of a call whose client is gone when it is answered, anybody
# could fill the log with.
_LOGGERS: Final = ("grpc._cython.cygrpc", "asyncio")
_NO_NEWS: Final = (UnicodeDecodeError, grpc.aio.InternalError)

log = Log("grpc")

# Makes a server that is to listen at an address as gRPC writes it. Raises RuntimeError.
Build = Callable[[str], grpc.aio.Server]


class StandingServer:
    """Servers one after the other behind a relay. For one event loop.

    ``grace`` is how many seconds the calls of a server that has ended may take; ``ended`` is told of each that a path
    ended.
    """

    def __init__(
        self, build: Build, relay: Relay, data_dir: Path, grace: float, ended: Callable[[], None]
    ) -> None:
        self._build = build
        self._relay = relay
        self._directory = _private_directory(data_dir)
        self._grace = grace
        self._ended = ended
        self._started = 0
        self._server: grpc.aio.Server | None = None
        self._finishing: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises RuntimeError where gRPC cannot."""
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_is_news)
        self._server = await self._start_one()
        self._watch = asyncio.create_task(self._replace_what_ends(self._server))

    async def stop(self, grace: float | None) -> None:
        """Refuse new calls, give those at hand ``grace`` seconds, close. Safe twice."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        if self._server is not None:
            await self._server.stop(grace)
        for task in self._finishing:
            task.cancel()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def _start_one(self) -> grpc.aio.Server:
        self._started += 1
        path = str(self._directory / str(self._started))
        server = self._build(f"unix:{path}")
        await server.start()
        self._relay.path = path
        return server

    async def _replace_what_ends(self, server: grpc.aio.Server) -> None:
        while True:
            try:
                if not await server.wait_for_termination(_LOOK_SECONDS):
                    return  # it was stopped
            except Exception as error:
                if isinstance(error, UnicodeDecodeError):
                    self._ended()
                else:
                    log.failed("gRPC ended by itself", error)
                task = asyncio.create_task(server.stop(self._grace))
                self._finishing.add(task)
                task.add_done_callback(self._finishing.discard)
                server = self._server = await self._replacement()

    async def _replacement(self) -> grpc.aio.Server:
        while True:
            try:
                return await self._start_one()
            except RuntimeError as error:
                log.warning("gRPC cannot start again yet", reason=error)
                await asyncio.sleep(_RETRY_SECONDS)


def _private_directory(data_dir: Path) -> Path:
    """An empty directory that nobody else can enter, with a short path."""
    directory = data_dir / "grpc"
    if not data_dir.is_dir() or len(str(directory)) > _LONGEST_PATH:
        return Path(tempfile.mkdtemp(prefix="spanledger-"))
    shutil.rmtree(directory, ignore_errors=True)  # of a run that was killed
    directory.mkdir(mode=0o700)
    return directory


def _is_news(record: logging.LogRecord) -> bool:
    error = record.msg if isinstance(record.msg, Exception) else record.exc_info and record.exc_info[1]
    return not isinstance(error, _NO_NEWS)

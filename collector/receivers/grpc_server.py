"""A gRPC server that stays up.

grpc.aio ends its whole server over one call whose path is not UTF-8: it stops listening, tells its connections
so, and leaves the calls at hand alone. Another one then takes its port. Who connects in the moment between is
refused, and exporters come back; calls at hand are finished by the server that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import grpc

from collector.log import Log
from collector.receivers.endpoint import EndpointError

# How soon it is noticed that a server has ended; grpc.aio tells nobody.
_LOOK_SECONDS: Final = 0.1
_FIRST_DELAY: Final = 0.01
_LAST_DELAY: Final = 5.0
# What these two write of a path of nonsense, and of a call whose client is gone when it is answered, anybody
# could fill the log with.
_LOGGERS: Final = ("grpc._cython.cygrpc", "asyncio")
_NO_NEWS: Final = (UnicodeDecodeError, grpc.aio.InternalError)

log = Log("grpc")

Build = Callable[[], grpc.aio.Server]


class StandingServer:
    """Servers one after the other on one port, each made by ``build``. For one event loop.

    ``grace`` is how many seconds the calls of a server that has ended may take; ``ended`` is told of each that a path
    ended.
    """

    def __init__(
        self, build: Build, server: grpc.aio.Server, grace: float, ended: Callable[[], None]
    ) -> None:
        self._build = build
        self._server = server
        self._grace = grace
        self._ended = ended
        self._finishing: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_is_news)
        await self._server.start()
        self._watch = asyncio.create_task(self._replace_what_ends())

    async def stop(self, grace: float | None) -> None:
        """Refuse new calls, give those at hand ``grace`` seconds, close. Safe twice."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await self._server.stop(grace)
        for task in self._finishing:
            task.cancel()

    async def _replace_what_ends(self) -> None:
        while True:
            try:
                if not await self._server.wait_for_termination(_LOOK_SECONDS):
                    return  # it was stopped
            except Exception as error:
                if isinstance(error, UnicodeDecodeError):
                    self._ended()
                else:
                    log.failed("gRPC ended by itself", error)
                task = asyncio.create_task(self._server.stop(self._grace))
                self._finishing.add(task)
                task.add_done_callback(self._finishing.discard)
                await self._replace()

    async def _replace(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                self._server = self._build()
                await self._server.start()
            except (
                EndpointError
            ) as error:  # what ends has not let go of the port yet, or somebody else has it
                if delay > _LOOK_SECONDS:
                    log.warning("gRPC cannot listen again yet", reason=error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LAST_DELAY)
            else:
                return


def _is_news(record: logging.LogRecord) -> bool:
    error = record.msg if isinstance(record.msg, Exception) else record.exc_info and record.exc_info[1]
    return not isinstance(error, _NO_NEWS)

"""Accepting connections in an event loop, also when files have run out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

# Connections accepted in one go: the event loop has other things to do.
_ACCEPTS: Final = 64
# When no further file can be opened, closing others takes a while.
_EXHAUSTED_SECONDS: Final = 0.2


class Listener:
    """Hands ``admit`` each connection that is accepted, as a socket that does not block. For one event loop."""

    def __init__(self, admit: Callable[[socket.socket], None]) -> None:
        self._admit = admit
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._paused = False

    def listen(self, sockets: list[socket.socket]) -> None:
        """Accept from ``sockets``, which listen and do not block."""
        self._sockets = sockets
        self.resume()

    def close(self) -> None:
        """Safe twice."""
        self.pause()
        for listening in self._sockets:
            listening.close()
        self._sockets = []

    def pause(self) -> None:
        """Who connects waits, until ``resume``."""
        self._paused = True
        for listening in self._sockets:
            self._loop.remove_reader(listening)

    def resume(self) -> None:
        self._paused = False
        for listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening, _ACCEPTS)

    def accept(self, most: int) -> None:
        """Accept some now, paused or not."""
        for listening in self._sockets:
            self._accept(listening, most)

    def _accept(self, listening: socket.socket, most: int) -> None:
        for _ in range(most):
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError:  # no file or no memory is left for it: those who wait are still there later
                self._loop.remove_reader(listening)
                self._loop.call_later(_EXHAUSTED_SECONDS, self._accept_again, listening)
                return
            accepted.setblocking(False)
            self._admit(accepted)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._sockets and not self._paused:
            self._loop.add_reader(listening, self._accept, listening, _ACCEPTS)

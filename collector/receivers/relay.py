"""Connections to gRPC, passed on while there is memory for what they send.

gRPC takes from its connections in threads of its own, whatever the event loop is doing meanwhile, and says how
large a message is only when it has all of it. So its server listens at a socket in the file system, and what
comes over the network passes through the event loop: where that has no time or the process no memory, nothing
more is taken, and senders wait.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Final, cast

from collector.receivers.listener import Listener
from collector.receivers.memory import Memory

# Memory is looked at after so many bytes: what one connection brings at a time is up to 256 KB.
_LOOK_BYTES: Final = 4 << 20
# Where memory is short, so many connections bring something each time: some 100 MB a second of all together.
_TURN_SECONDS: Final = 0.05
_TURNS: Final = 16
_NEWCOMERS: Final = 4


class Relay:
    """Passes connections on to the socket that ``path`` names at the time. For one event loop."""

    def __init__(self, memory: Memory, max_connections: int) -> None:
        self.path = ""
        self._memory = memory
        self._max_connections = max_connections
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(self._admit)
        self._openings: set[asyncio.Task[None]] = set()
        self._clients: dict[_Client, None] = {}
        self._unlooked = 0
        self._waiting: deque[_Client] | None = None  # while memory is short

    def listen(self, sockets: list[socket.socket]) -> None:
        """Serve what connects to ``sockets``, which listen and do not block."""
        self._listener.listen(sockets)

    def stop_listening(self) -> None:
        """Connections stay as they are. Safe twice."""
        self._listener.close()

    def close(self) -> None:
        """End all connections; what was written to them is still sent. Safe twice."""
        self.stop_listening()
        for opening in self._openings:
            opening.cancel()
        for client in list(self._clients):
            client.close()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._clients)

    def _admit(self, accepted: socket.socket) -> None:
        if len(self._clients) >= self._max_connections:
            accepted.close()
            return
        client = _Client(self)
        self._clients[client] = None
        opening = self._loop.create_task(self._open(client, accepted))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    async def _open(self, client: _Client, accepted: socket.socket) -> None:
        try:
            await self._loop.create_unix_connection(lambda: client.server, self.path)
            await self._loop.connect_accepted_socket(lambda: client, accepted)
        except (OSError, asyncio.CancelledError):
            self.forget(client)
            client.close()
            accepted.close()

    def forget(self, client: _Client) -> None:
        self._clients.pop(client, None)

    def has_brought(self, client: _Client, size: int) -> None:
        """``client`` has passed so many bytes on."""
        if self._waiting is not None:
            client.wait()
            self._waiting.append(client)
            return
        self._unlooked += size
        if self._unlooked >= _LOOK_BYTES:
            self._unlooked = 0
            if self._memory.is_short():
                self._hold()

    def _hold(self) -> None:
        self._waiting = deque(self._clients)
        for client in self._waiting:
            client.wait()
        self._listener.pause()
        self._loop.call_later(_TURN_SECONDS, self._take_turns)

    def _take_turns(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        if not self._memory.is_short():
            self._waiting = None
            for client in waiting:
                client.go_on()
            self._listener.resume()
            return
        self._listener.accept(_NEWCOMERS)
        for _ in range(min(_TURNS, len(waiting))):
            waiting.popleft().go_on()
        self._loop.call_later(_TURN_SECONDS, self._take_turns)


class _Client(asyncio.Protocol):
    """The side of the network."""

    def __init__(self, relay: Relay) -> None:
        self.server = _Server(self)
        self._relay = relay
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # what the server said before we were there
        self._is_waiting = False
        self._is_ahead = False  # of what the server has taken

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._read_on()
        self._transport.writelines(self._early)
        self._early.clear()
        if self.server.is_gone:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self.server.write(data)
        self._relay.has_brought(self, len(data))

    def connection_lost(self, _exc: BaseException | None) -> None:
        self._relay.forget(self)
        self.server.close()

    def pause_writing(self) -> None:
        self.server.pause_reading()

    def resume_writing(self) -> None:
        self.server.resume_reading()

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(data)
        elif not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        else:
            self.server.close()

    def wait(self) -> None:
        """Take nothing more, until ``go_on``."""
        self._is_waiting = True
        self._read_on()

    def go_on(self) -> None:
        self._is_waiting = False
        self._read_on()

    def run_ahead(self, *, ahead: bool) -> None:
        """Whether more has been passed on than the server has taken."""
        self._is_ahead = ahead
        self._read_on()

    def _read_on(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_waiting or self._is_ahead:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


class _Server(asyncio.Protocol):
    """The side of gRPC's server."""

    def __init__(self, client: _Client) -> None:
        self.is_gone = False
        self._client = client
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, _exc: BaseException | None) -> None:
        self.is_gone = True
        self._client.close()

    def pause_writing(self) -> None:
        self._client.run_ahead(ahead=True)

    def resume_writing(self) -> None:
        self._client.run_ahead(ahead=False)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

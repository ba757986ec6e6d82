"""The HTTP/1 server that OTLP/HTTP and the admin port run on: aiohttp's protocol, guarded.

aiohttp parses and frames. What it leaves open is closed here: how many connections there are, how long a client
may take for a handshake, for headers and between requests, how large headers are, and what a client is told
whose bytes are no request. Nothing that a client does is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from collector.log import Log
from collector.receivers.listener import Listener
from collector.receivers.status import HeadersTooLarge, Internal, Malformed, Refusal, Unavailable

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
# Makes the answer to a request that is refused; it has no headers where it was none.
Refuse = Callable[[web.BaseRequest, Refusal], web.StreamResponse]

# Headers of a request: the default of Apache (LimitRequestFields); exporters send some ten.
_MAX_HEADERS: Final = 100
# What aiohttp holds before it stops reading from the connection: a batch of 512 spans passes without a pause.
_READ_BUFFER_BYTES: Final = 1 << 20
# Connections beyond the limit that are still told so, and for how long; any more are closed at once.
_SURPLUS: Final = 64
_SURPLUS_SECONDS: Final = 2.0
# How long a client that is hung up on may take to read why (nginx's lingering_close gives it up to 5 s).
_LINGER_SECONDS: Final = 1.0
# How long clients may take to agree to the end of TLS.
_TLS_SHUTDOWN_SECONDS: Final = 2.0
# After the requests at hand, for what is still being sent.
_CLOSE_SECONDS: Final = 0.5
_NEVER: Final = float("inf")
_MESSAGE_LENGTH: Final = 200
# For one connection to each port: HTTP's and the admin port's take one, gRPC's three with its relay. Spool, lake,
# loader and logs keep some dozens open.
_FILES: Final = 5
_OTHER_FILES: Final = 512

log = Log("http")


class Limits(Protocol):
    """The part of the configured limits that concerns connections; times in seconds."""

    @property
    def max_connections(self) -> int: ...
    @property
    def max_header_bytes(self) -> int: ...
    @property
    def header_timeout_seconds(self) -> float: ...
    @property
    def idle_timeout_seconds(self) -> float: ...


class GuardedServer:
    """One port and its connections. For one event loop.

    ``grace`` is how many seconds ``close`` waits for requests at hand.
    """

    def __init__(
        self, handler: Handler, refuse: Refuse, limits: Limits, tls: ssl.SSLContext | None, grace: float
    ) -> None:
        self.limits = limits
        self.refuse = refuse
        self.port = 0
        self._loop = asyncio.get_running_loop()
        self._handler = handler
        self._grace = grace
        self._tls = tls
        self._manager = web.Server(self._handle)
        self._listener = Listener(self._admit)
        self._connections: set[_Connection] = set()
        self._openings: set[asyncio.Task[None]] = set()
        self._at_hand = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._finishing = False
        self._watch: asyncio.Task[None] | None = None

    def listen(self, sockets: list[socket.socket]) -> None:
        """Serve what connects to ``sockets``, which listen and do not block."""
        _allow_open_files(self.limits.max_connections)
        self.port = int(sockets[0].getsockname()[1])
        self._listener.listen(sockets)
        self._watch = self._loop.create_task(self._cut_off_the_slow())

    async def close(self) -> None:
        """Stop listening, finish the requests at hand, close. Safe twice."""
        self._listener.close()
        self._finishing = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self._grace)
        for task in (self._watch, *self._openings):
            if task is not None:
                task.cancel()
        self._manager.pre_shutdown()
        await self._manager.shutdown(_CLOSE_SECONDS)
        if self._connections:
            await asyncio.wait([one.gone for one in self._connections], timeout=_CLOSE_SECONDS)
        for connection in list(self._connections):
            connection.cut()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._connections)

    @property
    def requests(self) -> int:
        """How many are at hand now."""
        return self._at_hand

    def forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)

    def _admit(self, accepted: socket.socket) -> None:
        surplus = len(self._connections) - self.limits.max_connections
        if surplus >= _SURPLUS:
            accepted.close()
            return
        connection = _Connection(self, self._manager, self._loop, surplus=surplus >= 0)
        self._connections.add(connection)
        opening = self._loop.create_task(self._open(connection, accepted))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    async def _open(self, connection: _Connection, accepted: socket.socket) -> None:
        options: dict[str, Any] = {}
        if self._tls is not None:
            options = {
                "ssl": self._tls,
                "ssl_handshake_timeout": self.limits.header_timeout_seconds,
                "ssl_shutdown_timeout": _TLS_SHUTDOWN_SECONDS,
            }
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted, **options)
        except OSError:
            pass  # no TLS, no certificate that we trust, too slow, or gone
        finally:
            if not connection.connected:
                self.forget(connection)

    async def _cut_off_the_slow(self) -> None:
        shortest = min(self.limits.header_timeout_seconds, self.limits.idle_timeout_seconds)
        while True:
            await asyncio.sleep(min(1.0, shortest / 4))
            now = self._loop.time()
            for connection in [one for one in self._connections if one.deadline < now]:
                try:
                    connection.cut()
                except Exception as error:  # whatever it is, the others are still to be looked at
                    log.failed_on_data("a connection cannot be closed", error)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(_Connection, request.protocol)
        self._at_hand += 1
        self._idle.clear()
        try:
            refusal = connection.begin(request)
            response = self.refuse(request, refusal) if refusal else await self._handler(request)
        finally:
            self._at_hand -= 1
            if not self._at_hand:
                self._idle.set()
        if refusal or self._finishing:
            response.force_close()
        return response


class _Connection(web.RequestHandler):
    """aiohttp's side of one connection, with deadlines.

    Either a request is at hand, which its handler bounds, or ``deadline`` (in the event loop's time) says until
    when a whole header must be here.
    """

    __slots__ = (
        "_answered",
        "_body",
        "_broken",
        "_deaf",
        "_half_closed",
        "_header_bytes",
        "_limits",
        "_may_be_large",
        "_server",
        "_surplus",
        "_wire",
        "deadline",
        "gone",
    )

    def __init__(
        self, server: GuardedServer, manager: web.Server, loop: asyncio.AbstractEventLoop, *, surplus: bool
    ) -> None:
        limits = server.limits
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # what it takes for "none"
            auto_decompress=False,
            # Never before the deadlines here, which know idle clients from slow ones.
            keepalive_timeout=limits.idle_timeout_seconds + limits.header_timeout_seconds,
            lingering_time=0,
            max_field_size=limits.max_header_bytes,
            max_headers=_MAX_HEADERS,
            max_line_size=limits.max_header_bytes,
            read_bufsize=_READ_BUFFER_BYTES,
        )
        self.deadline = _NEVER  # a handshake has its own
        self.gone: asyncio.Future[None] = loop.create_future()
        self._server = server
        self._limits = limits
        self._surplus = surplus
        self._wire: asyncio.Transport | None = None
        self._body: StreamReader = EMPTY_PAYLOAD  # of the last request that was parsed
        self._answered = 0
        self._header_bytes = 0
        self._may_be_large = self._broken = self._deaf = self._half_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wire = cast(asyncio.Transport, transport)
        self._expect_header(_SURPLUS_SECONDS if self._surplus else _NEVER)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._server.forget(self)
        if not self.gone.done():
            self.gone.set_result(None)

    def cut(self) -> None:
        """Close at once, whatever the client has not read yet."""
        if self._wire is not None:
            self._wire.abort()
        self.force_close()

    def begin(self, request: web.BaseRequest) -> Refusal | None:
        """``request`` is at hand from now on; why it is refused before anybody looks at it."""
        if self.transport is None:
            raise ConnectionResetError("gone before its turn")
        self.deadline = _NEVER
        if self._surplus:
            return Unavailable("there are too many connections at this moment")
        if self._may_be_large and _header_size(request) > self._limits.max_header_bytes:
            return self._too_large()
        return None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        parsed, body = self._request_count, self._body
        ahead = parsed > self._answered and body.is_eof()
        super().data_received(data)
        if self._request_count > parsed:
            if not body.is_eof():
                # Only an error comes before the end of a body: its framing is broken, and nobody else says so.
                body.set_exception(web.RequestPayloadError("its chunks are malformed"))
            self._body = self._messages[-1][1]
            self._may_be_large = self._header_bytes + len(data) > self._limits.max_header_bytes
        elif data and parsed == self._answered:
            self._count_header(len(data))
        if (ahead or self._request_count - self._answered > 1) and self.transport is not None:
            # What follows a whole request can wait at the sender until that one is answered.
            self.transport.pause_reading()

    def eof_received(self) -> bool:  # type: ignore[override] # as asyncio.Protocol has it
        """The client sends no more; whole requests that it sent are still answered.

        TLS knows no such half: asyncio closes the connection, whatever is returned.
        """
        self._half_closed = True
        at_hand = self._request_count > self._answered and self._body.is_eof()
        return at_hand and not self._deaf and self.ssl_context is None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        # A client that does not read its answer has no longer than one that asks nothing.
        self.deadline = self._loop.time() + self._limits.idle_timeout_seconds
        finished = await super().finish_response(request, resp, start_time)
        self._answered += 1
        self._header_bytes = 0
        if self._broken or not request.content.is_eof():
            await self._linger()
        elif self._half_closed and self._answered == self._request_count:
            self.close()
        elif self.transport is not None and self._request_count - self._answered <= 1:
            self.transport.resume_reading()
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's signature
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """The last answer on this connection, instead of aiohttp's text and line in the log."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionResetError("nobody to answer") from exc
        self._broken = True
        response = self._server.refuse(request, self._explained(exc))
        response.force_close()
        return response

    def _expect_header(self, most_seconds: float) -> None:
        self.deadline = self._loop.time() + min(self._limits.header_timeout_seconds, most_seconds)

    def _count_header(self, size: int) -> None:
        """So many more bytes of a header that is not whole yet."""
        if self._answered and not self._header_bytes:
            self._expect_header(_NEVER)
        self._header_bytes += size
        if self._header_bytes > self._limits.max_header_bytes and not self._broken:
            # No header may hold this: the parser gives up, and the client is told why.
            self._broken = True
            super().data_received(b"\0")

    def _explained(self, error: BaseException | None) -> Refusal:
        if isinstance(error, LineTooLong) or self._header_bytes > self._limits.max_header_bytes:
            return self._too_large()
        if isinstance(error, HttpProcessingError):
            # Its first line says what; the others quote the bytes.
            what = error.message.partition("\n")[0][:_MESSAGE_LENGTH].rstrip(":")
            return Malformed(f"this is not a request of HTTP/1: {what}")
        log.failed_on_data("a request could not be answered", error or TimeoutError())
        return Internal("the request could not be handled; the server's log says why")

    def _too_large(self) -> Refusal:
        return HeadersTooLarge(f"the headers are larger than {self._limits.max_header_bytes} bytes")

    async def _linger(self) -> None:
        """A connection that is closed with bytes unread is reset, and the client may never see its answer."""
        self._deaf = True
        if self._wire is None or self._wire.is_closing() or not self._wire.can_write_eof():
            return
        self._wire.write_eof()
        self._wire.resume_reading()
        await asyncio.wait([self.gone], timeout=_LINGER_SECONDS)


def _header_size(request: web.BaseRequest) -> int:
    return len(request.raw_path) + sum(len(name) + len(value) for name, value in request.raw_headers)


def _allow_open_files(connections: int) -> None:
    """Raise this process's limit, which is 1,024 nearly everywhere, as far as it may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES * connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

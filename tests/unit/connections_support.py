"""A guarded HTTP server in a thread; by default on the event loop that the product runs on."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager

import uvloop
from aiohttp import web

from collector.config import LimitsConfig
from collector.receivers.connections import GuardedServer
from collector.receivers.endpoint import bind
from collector.receivers.status import status_body

GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


class Running:
    """A guarded server in a thread; it answers with the body it got."""

    def __init__(self, tls=None, new_event_loop=uvloop.new_event_loop, **limits):
        self.limits = LimitsConfig(**limits)
        self.tls = tls
        self.refused = []
        self.answered = []
        self.faults = []
        self.gate = threading.Event()
        self.gate.set()
        self.answer = None
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        self.server = self.run(self._start())
        return self

    async def _start(self):
        server = GuardedServer(self._handle, self._refuse, self.limits, self.tls, 2.0)
        server.listen(bind("http_endpoint", "127.0.0.1:0"))
        return server

    async def _handle(self, request):
        try:
            body = await request.read()
        except web.RequestPayloadError as error:
            self.faults.append(error)
            return web.Response(status=400)
        while not self.gate.is_set():
            await asyncio.sleep(0.01)
        if isinstance(self.answer, Exception):
            raise self.answer
        self.answered.append((request.method, request.path, body))
        return web.Response(body=body if self.answer is None else self.answer)

    def _refuse(self, _request, refusal):
        self.refused.append(refusal)
        return web.Response(
            status=refusal.http_status, body=status_body(refusal, "json"), headers=refusal.http_headers()
        )

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def __exit__(self, *_):
        self.run(self.server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def fresh(self):
        """As if nothing had been sent yet."""
        for seen in (self.refused, self.answered, self.faults):
            seen.clear()
        self.answer = None
        self.gate.set()
        return self

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=10)

    def ask(self, data=GET):
        """What comes back on a connection of its own until the server closes it."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_all(connection)

    def works(self):
        with self.connect() as connection:
            connection.sendall(GET)
            return connection.recv(1000).startswith(b"HTTP/1.1 200")

    @property
    def open(self):
        return self.server.connections


def read_all(connection):
    """Until the server closes; a reset where the client was sending still counts as closed."""
    pieces = []
    try:
        while piece := connection.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pieces.append(b"<reset>")
    return b"".join(pieces)


def refusal(answer, status):
    """The message of the Status in an answer that was refused and is the last on its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) or head.startswith(b"HTTP/1.0 %d " % status), answer[
        :300
    ]
    assert b"408" not in head
    if head.startswith(b"HTTP/1.1"):
        assert b"Connection: close" in head
    return json.loads(body)["message"]


@contextmanager
def not_before(seconds):
    """It takes so long at least; how long at most, the clients' patience says."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started >= seconds


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

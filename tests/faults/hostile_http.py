"""HTTP/1 by hand, and the attacks that need it: what no well-behaved client would send."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.faults.hostile_bodies import GOOD, PROTOBUF, Body, noise, span, wrapped
from tests.support import Collector

# What the tests' collector is started with, in seconds; and how long an answer is waited for, however busy the machine.
HEADER_TIMEOUT = 2.0
BODY_TIMEOUT = 2.0
IDLE_TIMEOUT = 3.0
MARGIN = 45.0
# The connection was closed without an answer.
CLOSED = 0
# Spans of requests that were smuggled into another's body; none may ever be stored.
SMUGGLED_TRACE = b"smuggled trace!!"


@dataclass
class Answers:
    """What came back on one connection: the status and body of each answer, and whether it was closed."""

    statuses: list[int] = field(default_factory=list)
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    closed: bool = False


class NoAnswerError(AssertionError):
    """Neither an answer nor the end of the connection came in time."""


def request(
    body: bytes = GOOD, *headers: str, method: str = "POST", target: str = "/v1/traces", length: bool = True
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Type: {PROTOBUF}", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.setblocking(False)
    return connection


def exchange(
    port: int, payload: bytes, *, answers: int = 1, half_close: bool = False, within: float = MARGIN
) -> Answers:
    """Send, and read until so many answers are whole and nothing more comes, or the connection is closed."""
    with connect(port) as connection:
        return converse(connection, [payload], answers=answers, half_close=half_close, within=within)


def converse(
    connection: socket.socket,
    payloads: Iterable[bytes] = (),
    *,
    pause: float = 0.0,
    answers: int = 1,
    half_close: bool = False,
    within: float = MARGIN,
    settle: float = 0.1,
) -> Answers:
    """Like :func:`exchange`, with ``pause`` seconds between the payloads."""
    start = quiet_since = time.monotonic()
    sender = _Sender(connection, payloads, pause, half_close)
    received = bytearray()
    closed = False
    while not closed:
        now = time.monotonic()
        if now - start > within:
            raise NoAnswerError(f"after {within} s: {bytes(received[:200])!r}")
        if sender.send(now):
            quiet_since = now
        if wait_for(connection, sending=sender.busy):
            quiet_since = now
            closed = not _receive(connection, received)
        elif now - quiet_since > settle and len(_whole(received)[0]) >= answers:
            break
    return Answers(*_whole(received), closed=closed)


def post(
    collector: Collector, content: bytes, body: Body | None = None, timeout: float = 30
) -> tuple[int, str, bytes]:
    """Status, content type and body of an answer to a request as any client would send it."""
    connection = http.client.HTTPConnection("127.0.0.1", collector.http_port, timeout=timeout)
    headers = {"Content-Type": body.media if body else PROTOBUF}
    if body and body.coding:
        headers["Content-Encoding"] = body.coding
    try:
        connection.request("POST", body.path if body else "/v1/traces", content, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


class _Sender:
    """Sends one payload after the other as far as the connection takes them."""

    def __init__(
        self, connection: socket.socket, payloads: Iterable[bytes], pause: float, half_close: bool
    ) -> None:
        self._connection = connection
        self._payloads = iter(payloads)
        self._pause = pause
        self._half_close = half_close
        self._pending = memoryview(b"")
        self._due = 0.0
        self._more = True

    @property
    def busy(self) -> bool:
        return bool(self._pending)

    def send(self, now: float) -> bool:
        """Whether anything was sent."""
        if not self._pending and self._more and now >= self._due:
            self._take(now)
        if not self._pending:
            return False
        try:
            sent = self._connection.send(self._pending[: 1 << 20])
        except BlockingIOError:
            return False
        except OSError:
            self._pending, self._more = memoryview(b""), False
            return False
        self._pending = self._pending[sent:]
        return True

    def _take(self, now: float) -> None:
        following = next(self._payloads, None)
        self._pending, self._due = memoryview(following or b""), now + self._pause
        if following is None:
            self._more = False
            if self._half_close:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_WR)


def wait_for(connection: socket.socket, *, sending: bool) -> bool:
    """Waits a moment for something to read, or for room to send; whether there is something to read."""
    poll = select.poll()  # unlike select(), for any number of open files
    poll.register(connection, select.POLLIN | (select.POLLOUT if sending else 0))
    return any(events & ~select.POLLOUT for _, events in poll.poll(10))


def _receive(connection: socket.socket, received: bytearray) -> bool:
    """Whether there may be more."""
    try:
        piece = connection.recv(1 << 16)
    except BlockingIOError:
        return True
    except OSError:
        return False
    received += piece
    return bool(piece)


def _whole(received: bytes) -> tuple[list[int], list[tuple[str, bytes]]]:
    """Status, and content type with body, of every answer that is there as a whole; no 1xx."""
    statuses, bodies, rest = [], [], bytes(received)
    while rest:
        head, separator, rest = rest.partition(b"\r\n\r\n")
        if not separator:
            break
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            break
        status = int(lines[0].split()[1])
        if status >= 200:
            statuses.append(status)
            bodies.append((headers.get("content-type", ""), rest[:size]))
        rest = rest[size:]
    return statuses, bodies


# --- the attacks ----------------------------------------------------------------------------------

Attack = Callable[[Collector], Answers]


def sending(payload: bytes, **options: float) -> Attack:
    return lambda collector: exchange(collector.http_port, payload, **options)


def dripping(head: bytes, drops: bytes, within: float) -> Attack:
    """A byte a second, without end: the collector has to put an end to it."""

    def attack(collector: Collector) -> Answers:
        with connect(collector.http_port) as connection:
            payloads = [head, *(drops[at : at + 1] for at in range(len(drops)))]
            return converse(connection, payloads, pause=1.0, answers=99, within=within)

    return attack


def silence(collector: Collector) -> Answers:
    with connect(collector.http_port) as connection:
        return converse(connection, answers=99, within=HEADER_TIMEOUT + IDLE_TIMEOUT + MARGIN)


def reset_in_the_body(collector: Collector) -> Answers:
    for _ in range(20):
        with connect(collector.http_port) as connection:
            connection.setblocking(True)
            connection.sendall(request(bytes(1 << 20))[: 1 << 18])
            linger = struct.pack("ii", 1, 0)  # closing then sends a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    return Answers(closed=True)


def thousand_connections(collector: Collector) -> Answers:
    """All are open before the first of them asks; each is answered."""
    found = Answers()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(collector.http_port)) for _ in range(1000)]
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.send(request(b""))
        for connection in connections:
            answers = converse(connection, within=30, settle=0)
            found.statuses += answers.statuses or [CLOSED]
            found.bodies += answers.bodies or [("", b"")]
    return found


def smuggled() -> bytes:
    """A whole request that stands in another's body."""
    ids = b"\x0a\x10" + SMUGGLED_TRACE
    body = wrapped(span().replace(b"\x0a\x10" + b"hostile trace 16", ids))
    return request(body)


def smuggling(*headers: str, body: bytes = b"") -> Attack:
    """A request whose length is told in two ways, or wrongly, with another one behind it."""
    return sending(request(body, *headers, length=False) + smuggled())


def chunked(body: bytes) -> Attack:
    return smuggling("Transfer-Encoding: chunked", body=body)


GIVEN_UP = {CLOSED, 503}
REFUSED = {CLOSED, 400}
TOO_LONG = {CLOSED, 400, 413, 414, 431}
CHUNK = b"5\r\nhello\r\n0\r\n\r\n"
CR_LF = b"\r\n"

# Name → what may come back (statuses; CLOSED = no answer but the end of the connection), and the attack.
# What takes its time, to be run side by side.
SLOW: dict[str, tuple[set[int], Attack]] = {
    "silence": (GIVEN_UP, silence),
    "slow headers": (
        GIVEN_UP,
        dripping(b"POST /v1/traces HTTP/1.1\r\n", b"Host: a\r\n" + b"x" * 99, HEADER_TIMEOUT + MARGIN),
    ),
    "slow body": (GIVEN_UP, dripping(request(bytes(99))[:-99], bytes(99), BODY_TIMEOUT + MARGIN)),
    "slow chunks": (
        GIVEN_UP,
        dripping(
            request(b"", "Transfer-Encoding: chunked", length=False), b"1\r\nx\r\n" * 9, BODY_TIMEOUT + MARGIN
        ),
    ),
    "promised a body after 100 Continue": (
        GIVEN_UP,
        dripping(request(bytes(99), "Expect: 100-continue")[:-99], b"", BODY_TIMEOUT + MARGIN),
    ),
    "slow body that is refused by its size": (
        {413},
        dripping(
            request(b"", "Content-Length: 99999999", length=False), bytes(99), 2 * BODY_TIMEOUT + MARGIN
        ),
    ),
}
CONNECTIONS: dict[str, tuple[set[int], Attack]] = {
    "half-closed before the body": (REFUSED, sending(request(bytes(99))[:-99], half_close=True)),
    "half-closed in the body": (REFUSED, sending(request(bytes(99))[:-9], half_close=True)),
    "half-closed after the body": ({CLOSED, 200}, sending(request(), half_close=True)),
    "reset in the body": ({CLOSED}, reset_in_the_body),
    "1,000 connections": ({200}, thousand_connections),
    "50 pipelined requests": ({200}, sending(request() * 50, answers=50)),
    "pipelined garbage": ({200, 400}, sending(request() + noise(999), answers=2)),
}
LENGTHS = (
    "-1",
    "+5",
    "5_0",
    "0x5",
    "5, 6",
    "5 5",
    "",
    "9" * 40,
    str(1 << 64),
    "\xd9\xa5",
)
FRAMINGS: dict[str, tuple[set[int], Attack]] = {
    "a length and chunks": (
        REFUSED,
        smuggling("Content-Length: 5", "Transfer-Encoding: chunked", body=CHUNK),
    ),
    "chunks and a length": (
        REFUSED,
        smuggling("Transfer-Encoding: chunked", "Content-Length: 5", body=CHUNK),
    ),
    "two lengths": (REFUSED, smuggling("Content-Length: 5", "Content-Length: 6", body=b"hello!")),
    **{
        f"length {length[:9]!r}": (REFUSED | {413}, smuggling(f"Content-Length: {length}", body=b"hello"))
        for length in LENGTHS
    },
    "a length of 60 MB, and half-closed": (
        REFUSED,
        sending(request(b"hello", "Content-Length: 60000000", length=False), half_close=True),
    ),
    "chunked twice": (REFUSED, smuggling("Transfer-Encoding: chunked, chunked", body=CHUNK)),
    "chunked, then not": (REFUSED, smuggling("Transfer-Encoding: chunked, identity", body=CHUNK)),
    "an unknown transfer coding": (REFUSED | {501}, smuggling("Transfer-Encoding: xchunked", body=CHUNK)),
    "a space before the colon": (REFUSED, smuggling("Transfer-Encoding : chunked", body=CHUNK)),
    "a folded header": (REFUSED, smuggling("X-A: b", " Transfer-Encoding: chunked", body=CHUNK)),
    "a control character in a header": (REFUSED, smuggling("Transfer-Encoding:\x0bchunked", body=CHUNK)),
    "NUL in a header": (REFUSED, smuggling("X-A: b\0c", "Content-Length: 5", body=b"hello")),
    "a bare return in a header": (
        REFUSED,
        smuggling("X-A: b\rContent-Length: 0", "Content-Length: 5", body=b"hello"),
    ),
    "a chunk size of no number": (REFUSED, chunked(b"zz\r\nhello\r\n0\r\n\r\n")),
    "a negative chunk size": (REFUSED, chunked(b"-5\r\nhello\r\n0\r\n\r\n")),
    "a chunk size of 0x5": (REFUSED, chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    "a chunk size of 2**64 and 5": (REFUSED | {413}, chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    "a chunk extension with a request in it": (
        REFUSED,
        chunked(b"5;x=\n" + smuggled() + b"\r\nhello\r\n0\r\n\r\n"),
    ),
    "a chunk longer than its size": (REFUSED, chunked(b"3\r\nhello\r\n0\r\n\r\n")),
    "trailers of a megabyte": (TOO_LONG, chunked(b"0\r\n" + b"X-A: b\r\n" * (1 << 17) + CR_LF)),
}
# Odd, but there is one way to read it.
CHUNKED = "Transfer-Encoding: chunked"
LINES: dict[str, tuple[set[int], Attack]] = {
    "a chunk size of a megabyte of zeros": (
        TOO_LONG,
        sending(request(b"0" * (1 << 20) + CHUNK, CHUNKED, length=False)),
    ),
    "a chunk extension of a megabyte": (
        TOO_LONG,
        sending(request(b"5;" + b"x" * (1 << 20) + CHUNK[1:], CHUNKED, length=False)),
    ),
    "20,000 chunks of a byte": (
        {200},
        sending(request(b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n", CHUNKED, length=False)),
    ),
    "garbage": (REFUSED, sending(noise(9999) + b"\r\n\r\n")),
    "a megabyte without a line's end": (TOO_LONG, sending(b"A" * (1 << 20))),
    "empty lines for ever": (TOO_LONG | GIVEN_UP, sending(CR_LF * (1 << 19), within=HEADER_TIMEOUT + MARGIN)),
    "no version": (REFUSED | {415}, sending(b"POST /v1/traces\r\n\r\n")),
    "version 9.9": (REFUSED | {505}, sending(request().replace(b"HTTP/1.1", b"HTTP/9.9"))),
    "HTTP/2": (REFUSED | {505}, sending(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))),
    "TLS": (REFUSED, sending(bytes.fromhex("16030100a5010000a10303") + noise(154))),
    "a method with control characters": (REFUSED | {405}, sending(request(method="P\x01\x7fST"))),
    "a method of a megabyte": (TOO_LONG | {405}, sending(request(method="P" * (1 << 20)))),
    "CONNECT": (REFUSED | {404, 405}, sending(request(method="CONNECT", target="localhost:80"))),
    "a target of a megabyte": (TOO_LONG | {404}, sending(request(target="/" + "a" * (1 << 20)))),
    "a target of no host": (REFUSED | {404}, sending(request(target="http://[bad/v1/traces"))),
    "a target of no port": (REFUSED | {404}, sending(request(target="http://a:99999999/v1/traces"))),
    "a target with //[": (REFUSED | {404}, sending(request(target="//[/v1/traces"))),
    "a target with NUL": (REFUSED | {404}, sending(request(target="/v1/traces\0"))),
    "a target with bytes beyond ASCII": (REFUSED | {404}, sending(request(target="/v1/\xff\xfe"))),
    "a target with half an escape": (REFUSED | {404}, sending(request(target="/v1/traces%f"))),
    "a target that climbs": (REFUSED | {404}, sending(request(target="/../../etc/passwd"))),
    "a header of a megabyte": (TOO_LONG, sending(request(b"", "X-A: " + "b" * (1 << 20)))),
    "5,000 headers": (TOO_LONG, sending(request(b"", *(f"X-{number}: b" for number in range(5000))))),
    "a header without a name": (REFUSED, sending(request(b"", ": b"))),
    "a header without a colon": (REFUSED, sending(request(b"", "X"))),
    "a header beyond ASCII": ({200, 400}, sending(request(GOOD, "X-A: \xff\xfe\x80"))),
    "an authorization beyond ASCII": ({200, 400}, sending(request(GOOD, "Authorization: \xff Bearer \xa0"))),
    "a content type of nonsense": ({415}, sending(request().replace(PROTOBUF.encode(), b';;="\xff,/'))),
    "a content type of 8 KiB": ({415}, sending(request().replace(PROTOBUF.encode(), b"a/" + b"b" * 8000))),
    "a charset of UTF-16": (
        {200, 400, 415},
        sending(request(b"{}").replace(PROTOBUF.encode(), b"application/json; charset=utf-16")),
    ),
    "a charset of nonsense": (
        {200, 400, 415},
        sending(request(b"{}").replace(PROTOBUF.encode(), b"application/json; charset=\xff")),
    ),
    "an unknown content encoding": ({415}, sending(request(GOOD, "Content-Encoding: br"))),
    "gzip twice": ({415}, sending(request(GOOD, "Content-Encoding: gzip, gzip"))),
    "a content encoding told twice": (
        {400, 415},
        sending(request(zlib.compress(GOOD), "Content-Encoding: deflate", "Content-Encoding: gzip")),
    ),
    "an unknown expectation": ({200, 400, 417}, sending(request(GOOD, "Expect: the unexpected"))),
    "an upgrade to a web socket": (
        {200, 400},
        sending(request(GOOD, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")),
    ),
    "an upgrade to HTTP/2": (
        {200, 400},
        sending(
            request(GOOD, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
        ),
    ),
    "an upgrade to anything": ({200, 400}, sending(request(GOOD, "Connection: Upgrade", "Upgrade: tcp"))),
}
ATTACKS = {**CONNECTIONS, **FRAMINGS, **LINES}

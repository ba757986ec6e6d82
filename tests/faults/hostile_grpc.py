"""HTTP/2 frames by hand, and the attacks that need them: what no gRPC library would send."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.faults.hostile_bodies import GOOD, Body, noise
from tests.faults.hostile_http import (
    BODY_TIMEOUT,
    HEADER_TIMEOUT,
    IDLE_TIMEOUT,
    MARGIN,
    NoAnswerError,
    connect,
    request,
    wait_for,
)
from tests.support import Collector, wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW = 0x4
# No tables, so that answers can be read without one: HEADER_TABLE_SIZE 0.
NO_TABLE = struct.pack(">HI", 1, 0)
FRAME_BYTES = 16384
GRPC_STATUS = re.compile(rb"grpc-status[\x01\x02]([0-9]{1,2})")

# Outcomes of a call besides gRPC's codes.
CLOSED, RESET = -1, -2
OK, CANCELLED, INVALID, DEADLINE, EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 1, 3, 4, 8, 12, 13, 14

PATHS = {
    "/v1/traces": b"/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/v1/logs": b"/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/v1/metrics": b"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
TRACES = PATHS["/v1/traces"]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK's literal without indexing."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(size: int) -> bytes:
    if size < 0x7F:
        return bytes([size])
    digits, size = bytearray([0x7F]), size - 0x7F
    while size > 0x7F:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*digits, size])


def head(path: bytes = TRACES, *more: tuple[bytes, bytes], method: bytes = b"POST") -> bytes:
    """The header block of a call."""
    headers = [
        (b":method", method),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *more,
    ]
    return b"".join(literal(name, value) for name, value in headers)


def message(content: bytes, flag: int = 0, size: int | None = None) -> bytes:
    return struct.pack(">BI", flag, len(content) if size is None else size) + content


@dataclass
class Http2:
    """A connection, what may be sent on it by its windows, and what came back."""

    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)
    outcomes: dict[int, int] = field(default_factory=dict)  # by stream
    window: int = 65535
    stream_window: int = 65535
    stream_windows: dict[int, int] = field(default_factory=dict)  # what they have grown by
    sent: dict[int, int] = field(default_factory=dict)
    settled: bool = False
    closed: bool = False

    def send(self, data: bytes) -> None:
        """Send all of it, reading meanwhile; what a closed connection does not take is dropped."""
        pending = memoryview(data)
        deadline = time.monotonic() + MARGIN
        while pending and not self.closed:
            try:
                pending = pending[self.connection.send(pending[: 1 << 20]) :]
                deadline = time.monotonic() + MARGIN
            except BlockingIOError:
                self.read(sending=True)
            except OSError:
                self.closed = True
            if time.monotonic() > deadline:
                raise NoAnswerError("the connection takes nothing more")

    def read(self, *, sending: bool = False) -> None:
        if not wait_for(self.connection, sending=sending):
            return
        try:
            piece = self.connection.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self.closed = self.closed or not piece
        self.received += piece
        self._take_frames()

    def _take_frames(self) -> None:
        while len(self.received) >= 9:
            size = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + size:
                return
            kind, flags = self.received[3], self.received[4]
            stream = int.from_bytes(self.received[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self.received[9 : 9 + size])
            del self.received[: 9 + size]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == INITIAL_WINDOW:
                    self.stream_window = value
            self.settled = True
            self.connection.setblocking(True)
            with contextlib.suppress(OSError):
                self.connection.sendall(frame(SETTINGS, ACK, 0))
            self.connection.setblocking(False)
        elif kind == WINDOW_UPDATE and stream:
            grown = self.stream_windows.get(stream, 0) + int.from_bytes(payload, "big")
            self.stream_windows[stream] = grown
        elif kind == WINDOW_UPDATE:
            self.window += int.from_bytes(payload, "big")
        elif kind == HEADERS and (found := GRPC_STATUS.search(payload)):
            self.outcomes.setdefault(stream, int(found[1]))
        elif kind == RST_STREAM:
            self.outcomes.setdefault(stream, RESET)
        elif kind == GOAWAY and payload[4:8] != bytes(4):
            self.closed = True

    def send_data(self, stream: int, data: bytes, *, end: bool = True) -> None:
        """A stream's content as far as it is wanted, within the windows."""
        at, start = 0, time.monotonic()
        while at < len(data) and stream not in self.outcomes and not self.closed:
            room = self._room(stream)
            if room <= 0:
                self.read()
                if time.monotonic() - start > MARGIN:
                    raise NoAnswerError(f"no room for more than {self.sent.get(stream, 0)} bytes")
                continue
            piece = data[at : at + room]
            at += len(piece)
            self.window -= len(piece)
            self.sent[stream] = self.sent.get(stream, 0) + len(piece)
            self.send(frame(DATA, END_STREAM if end and at == len(data) else 0, stream, piece))

    def _room(self, stream: int) -> int:
        grown = self.stream_window + self.stream_windows.get(stream, 0)
        return min(self.window, grown - self.sent.get(stream, 0), FRAME_BYTES)

    def outcome(self, stream: int = 1, within: float = MARGIN) -> int:
        """The call's gRPC code, RESET, or CLOSED."""
        start = time.monotonic()
        while stream not in self.outcomes:
            if self.closed:
                return CLOSED
            if time.monotonic() - start > within:
                raise NoAnswerError(f"no end of the call after {within} s")
            self.read()
        return self.outcomes[stream]


@contextlib.contextmanager
def http2(collector: Collector, settings: bytes = NO_TABLE) -> Iterator[Http2]:
    with connect(collector.grpc_port) as connection:
        client = Http2(connection)
        client.send(PREFACE + frame(SETTINGS, 0, 0, settings))
        start = time.monotonic()
        while not client.settled and not client.closed:
            client.read()
            if time.monotonic() - start > MARGIN:
                raise NoAnswerError("no SETTINGS")
        yield client


def call(
    collector: Collector, content: bytes, block: bytes = head(), *, within: float = MARGIN, end: bool = True
) -> int:
    """The outcome of one call whose DATA is ``content``."""
    with http2(collector) as client:
        flags = END_HEADERS if len(block) <= FRAME_BYTES else 0
        client.send(frame(HEADERS, flags | (0 if content or not end else END_STREAM), 1, block[:FRAME_BYTES]))
        for at in range(FRAME_BYTES, len(block), FRAME_BYTES):
            flags = END_HEADERS if at + FRAME_BYTES >= len(block) else 0
            client.send(frame(CONTINUATION, flags, 1, block[at : at + FRAME_BYTES]))
        client.send_data(1, content, end=end)
        return client.outcome(within=within)


def call_with(collector: Collector, body: Body, content: bytes, within: float = 30) -> int:
    """The content of a body of the table as the message of a call."""
    gzipped = [(b"grpc-encoding", b"gzip")] if body.coding else []
    sent = message(content, 1 if body.coding else 0)
    return call(collector, sent, head(PATHS[body.path], *gzipped), within=within)


# --- the attacks ----------------------------------------------------------------------------------

Attack = Callable[[Collector], set[int]]


def calling(content: bytes, block: bytes = head(), *, within: float = MARGIN, end: bool = True) -> Attack:
    return lambda collector: {call(collector, content, block, within=within, end=end)}


def repeated(content: bytes, block: bytes) -> Attack:
    """Often enough that a line in the log for each would be seen."""
    return lambda collector: {call(collector, content, block) for _ in range(5)}


def raw(payload: bytes, within: float) -> Attack:
    """Bytes on the port; the collector has to close the connection."""

    def attack(collector: Collector) -> set[int]:
        with connect(collector.grpc_port) as connection:
            client = Http2(connection)
            client.send(payload)
            return {client.outcome(within=within)}

    return attack


def flood(frames: bytes, count: int) -> Attack:
    """The same frames again and again, then a call on the same connection, if that still stands."""

    def attack(collector: Collector) -> set[int]:
        with http2(collector) as client:
            for _ in range(10):
                client.send(frames * (count // 10))
                client.read()
            client.send(frame(HEADERS, END_HEADERS, 99_999, head()))
            client.send_data(99_999, message(GOOD))
            return {client.outcome(99_999)}

    return attack


def rapid_resets(collector: Collector) -> set[int]:
    """2,000 calls, each given up as soon as it was begun."""
    with http2(collector) as client:
        for number in range(2000):
            stream = 2 * number + 1
            client.send(
                frame(HEADERS, END_HEADERS, stream, head())
                + frame(DATA, END_STREAM, stream, message(GOOD))
                + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
            )
        last = 2 * 2000 + 1
        client.send(frame(HEADERS, END_HEADERS, last, head()))
        client.send_data(last, message(GOOD))
        return {client.outcome(last)}


def many_streams(collector: Collector) -> set[int]:
    """1,000 calls at a time on one connection, each with all of its message."""
    with http2(collector) as client:
        streams = range(1, 2001, 2)
        content = message(b"")
        for stream in streams:
            client.send(
                frame(HEADERS, END_HEADERS, stream, head()) + frame(DATA, END_STREAM, stream, content)
            )
        return {client.outcome(stream, within=MARGIN) for stream in streams}


def closed_windows(collector: Collector) -> set[int]:
    """64 calls whose answers the client never makes room for."""
    with http2(collector, NO_TABLE + struct.pack(">HI", INITIAL_WINDOW, 0)) as client:
        for stream in range(1, 129, 2):
            client.send(frame(HEADERS, END_HEADERS, stream, head()))
            client.send_data(stream, message(GOOD))
        return {CLOSED}


def header_bomb(collector: Collector) -> set[int]:
    """A header of 4 KB that goes into the table once and is named 10,000 times: 40 MB of metadata."""
    name, value = b"x-bomb", b"v" * 4000
    indexed = b"\x40" + _length(len(name)) + name + _length(len(value)) + value
    block = head() + indexed + b"\xbe" * 10_000
    return {call(collector, message(GOOD), block)}


def continuations(collector: Collector) -> set[int]:
    """A header block that never ends."""
    with http2(collector) as client:
        client.send(frame(HEADERS, 0, 1, head()))
        piece = frame(CONTINUATION, 0, 1, literal(b"x-a", b"v" * 8000))
        for _ in range(2000):
            client.send(piece)
        client.send(frame(CONTINUATION, END_HEADERS, 1, b"") + frame(DATA, END_STREAM, 1, message(GOOD)))
        return {client.outcome()}


def thousand_connections(collector: Collector) -> set[int]:
    """All of them greet; all of them are greeted or closed."""
    with contextlib.ExitStack() as stack:
        clients = [Http2(stack.enter_context(connect(collector.grpc_port))) for _ in range(1000)]
        for client in clients:
            client.send(PREFACE + frame(SETTINGS, 0, 0))
        for client in clients:
            while not client.settled and not client.closed:
                client.read()
        return {OK if client.settled else CLOSED for client in clients}


def path_of_no_text(collector: Collector) -> set[int]:
    """grpc.aio ends its whole server over such a path. Calls at hand are finished all the same; exporters may
    be refused for a moment, and come back."""
    content, outcomes = message(GOOD), set()
    with http2(collector) as neighbour:
        neighbour.send(frame(HEADERS, END_HEADERS, 1, head()))
        neighbour.send_data(1, content[:9], end=False)
        wait_until(lambda: 'spanledger_requests_in_flight{transport="grpc"} 1' in collector.metrics())
        outcomes.add(call(collector, content, head(b"/\xff\xfe")))
        neighbour.send_data(1, content[9:])
        assert (outcome := neighbour.outcome()) == OK, outcome
    for _ in range(4):
        with contextlib.suppress(ConnectionError):
            outcomes.add(call(collector, content, head(b"/\xff\xfe")))
    wait_until(lambda: accepts(collector), MARGIN)
    return outcomes


def accepts(collector: Collector) -> bool:
    try:
        return call(collector, message(GOOD)) == OK
    except ConnectionError:
        return False


REFUSED = {CLOSED, RESET, INVALID}
# What gRPC's core answers itself to headers that no library would send: nothing of ours is asked.
NO_HTTP2 = {CLOSED, RESET, UNIMPLEMENTED, INTERNAL}
GIVEN_UP = {CLOSED, RESET, CANCELLED, DEADLINE, UNAVAILABLE}
TOO_LARGE = {CLOSED, RESET, EXHAUSTED}
EMPTY = message(b"")

# Name → what may come of it, and the attack.
# What takes its time, to be run side by side.
SLOW: dict[str, tuple[set[int], Attack]] = {
    "silence": ({CLOSED}, raw(b"", HEADER_TIMEOUT + MARGIN)),
    "half a preface": ({CLOSED}, raw(PREFACE[:9], HEADER_TIMEOUT + MARGIN)),
    "silence after the handshake": (
        {CLOSED},
        raw(PREFACE + frame(SETTINGS, 0, 0), IDLE_TIMEOUT + MARGIN),
    ),
    "a message that never ends": (
        GIVEN_UP,
        calling(message(GOOD)[:-9], within=BODY_TIMEOUT + MARGIN, end=False),
    ),
    "a call that never begins": (GIVEN_UP, calling(b"", within=BODY_TIMEOUT + MARGIN, end=False)),
}
ATTACKS: dict[str, tuple[set[int], Attack]] = {
    "garbage": ({CLOSED}, raw(noise(9999), HEADER_TIMEOUT + MARGIN)),
    "HTTP/1": ({CLOSED}, raw(request(), HEADER_TIMEOUT + MARGIN)),
    "a frame of 16 MiB": ({CLOSED}, raw(PREFACE + frame(SETTINGS, 0, 0) + b"\xff" * 999, MARGIN)),
    "garbage for headers": (NO_HTTP2, repeated(EMPTY, noise(500))),
    "headers in capitals": (NO_HTTP2, repeated(EMPTY, head() + literal(b"X-A", b"b"))),
    "NUL in a header": (NO_HTTP2 | {OK}, repeated(EMPTY, head(TRACES, (b"x-a", b"b\0c\r\nd")))),
    "no headers at all": (NO_HTTP2, calling(EMPTY, b"")),
    "metadata of a megabyte": (
        TOO_LARGE,
        repeated(EMPTY, head(TRACES, *[(b"x-a", b"v" * 8000)] * 130)),
    ),
    "16 MB of continuations": (TOO_LARGE, continuations),
    "a header bomb": (TOO_LARGE, header_bomb),
    "an unknown method": ({UNIMPLEMENTED}, repeated(EMPTY, head(TRACES + b"s"))),
    "an unknown service": ({UNIMPLEMENTED}, calling(EMPTY, head(b"/no.such.Service/Export"))),
    "profiles": (
        {UNIMPLEMENTED},
        calling(EMPTY, head(b"/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export")),
    ),
    "GET": (REFUSED | {UNIMPLEMENTED}, calling(EMPTY, head(method=b"GET"))),
    "no message": (REFUSED | {UNIMPLEMENTED}, calling(b"", head())),
    "two messages": (REFUSED | {OK, UNIMPLEMENTED}, calling(EMPTY * 2)),
    "a message cut short": (REFUSED | {CANCELLED}, calling(message(GOOD)[:-9])),
    "a message of 4 GiB": ({EXHAUSTED}, calling(message(b"", size=0xFFFFFFFF))),
    "a message of 65 MiB": ({EXHAUSTED}, calling(message(b"", size=65 << 20), end=False)),
    "compressed with no encoding": (NO_HTTP2, repeated(message(GOOD, 1), head())),
    "compressed with identity": (
        NO_HTTP2,
        repeated(message(GOOD, 1), head(TRACES, (b"grpc-encoding", b"identity"))),
    ),
    "an unknown flag": (REFUSED | {OK, UNIMPLEMENTED}, calling(message(GOOD, 0xFF))),
    "an unknown encoding": (
        NO_HTTP2,
        repeated(message(GOOD, 1), head(TRACES, (b"grpc-encoding", b"br"))),
    ),
    "a timeout of nonsense": (
        NO_HTTP2,
        repeated(message(GOOD), head(TRACES, (b"grpc-timeout", b"\xff"))),
    ),
    "a timeout of a nanosecond": (
        GIVEN_UP | {OK},
        calling(message(GOOD), head(TRACES, (b"grpc-timeout", b"1n"))),
    ),
    "rapid resets": ({OK, CLOSED, RESET}, rapid_resets),
    "1,000 streams": ({OK, RESET, UNAVAILABLE}, many_streams),
    "closed windows": ({CLOSED}, closed_windows),
    "20,000 pings": ({OK, CLOSED}, flood(frame(PING, 0, 0, bytes(8)), 20_000)),
    "10,000 settings": ({OK, CLOSED}, flood(frame(SETTINGS, 0, 0, NO_TABLE), 10_000)),
    "20,000 window updates": ({OK, CLOSED}, flood(frame(WINDOW_UPDATE, 0, 0, bytes([0, 0, 0, 1])), 20_000)),
    "20,000 unknown frames": ({OK, CLOSED}, flood(frame(0xEE, 0, 0, b"?"), 20_000)),
    "1,000 connections": ({OK, CLOSED}, thousand_connections),
    "a path that is no text": ({UNIMPLEMENTED} | GIVEN_UP, path_of_no_text),
}

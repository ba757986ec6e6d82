"""Everything that takes memory, at once, against one real server.

Guarantee: while bombs, requests of 60 MiB and 300 slow connections are at it together, all processes of the
collector hold less than 900 MB; each request is answered as documented, small ones within 10 s (the long form), and
large ones are taken in the end; afterwards all of it is stored once, and memory is near where it was.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults import hostile_bodies, hostile_grpc, hostile_http
from tests.faults.hostile_bodies import BODIES, MEBIBYTE, PROTOBUF, TRACE_ID, Body, attribute, span, string
from tests.faults.hostile_grpc import frame
from tests.processes import PeakMemory, family, resident_bytes
from tests.support import Collector, running, wait_until

MOST_BYTES = 900_000_000
# What may stay: caches of the database, code that was not needed before.
NEAR_START = 150_000_000
SLOW = 300
# Bodies that inflate, or that a parser would make many times as much of.
BOMBS = {
    body.name: body for body in BODIES if body.allowed == {413} and (body.coding or "empty" in body.name)
}
GRPC_BOMBS = {name: body for name, body in BOMBS.items() if body.media == PROTOBUF and body.coding == "gzip"}
# As exporters try again: after 1 s, 2 s, 4 s and so on, less some at random.
LONGEST_WAIT_SECONDS = 16.0
SMALL_SECONDS = 10.0


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running(tmp_path_factory.mktemp("memory") / "data") as process:
        wait_until(lambda: len(family(process.process.pid)) > 1)
        yield process


# --- requests of 60 MiB ---------------------------------------------------------------------------


def many_spans() -> bytes:
    """15,360 spans of 4 KiB."""
    text = attribute(b"app.text", string(b"t" * 3900))
    return b"".join(span(text, number=number) for number in range(1, 15_361))


def long_values() -> bytes:
    """60 spans of 1 MiB."""
    text = attribute(b"app.text", string(b"t" * (MEBIBYTE - 200)))
    return b"".join(span(text, number=number) for number in range(1, 61))


SHAPES = {many_spans: 15_360, long_values: 60}


def pieces(content: bytes, trace: bytes) -> Iterator[bytes]:
    """A whole request of these spans in this trace, a few at a time: 20 of them are not in memory here."""
    size = len(content)
    scope = hostile_bodies.field(2, b"")[:1] + hostile_bodies.varint(size)
    yield hostile_bodies.field(1, b"")[:1] + hostile_bodies.varint(len(scope) + size) + scope
    start = 0
    while start < size:
        # No trace's id stands across the end of a piece: it is near the beginning of its span.
        end = content.find(TRACE_ID, start + MEBIBYTE)
        end = size if end < 0 else end
        yield content[start:end].replace(TRACE_ID, trace)
        start = end


def over_http(collector: Collector, parts: Callable[[], Iterator[bytes]]) -> bool:
    """Whether it was acknowledged; if not, it is to be tried again."""
    connection = http.client.HTTPConnection("127.0.0.1", collector.http_port, timeout=60)
    headers = {"Content-Type": PROTOBUF, "Content-Length": str(sum(map(len, parts())))}
    try:
        connection.request("POST", "/v1/traces", parts(), headers)
        answer = connection.getresponse()
        answer.read()
    except ConnectionError:  # it was answered and closed while there was more to send
        return False
    finally:
        connection.close()
    assert answer.status == 200 or (answer.status == 503 and answer.headers["Retry-After"])
    return answer.status == 200


def over_grpc(collector: Collector, parts: Callable[[], Iterator[bytes]]) -> bool:
    size = sum(map(len, parts()))
    with hostile_grpc.http2(collector) as client:
        client.send(frame(hostile_grpc.HEADERS, hostile_grpc.END_HEADERS, 1, hostile_grpc.head()))
        client.send_data(1, hostile_grpc.message(b"", size=size), end=False)
        for part in parts():
            client.send_data(1, part, end=False)
        client.send(frame(hostile_grpc.DATA, hostile_grpc.END_STREAM, 1))
        outcome = client.outcome(within=60)
        assert outcome in (hostile_grpc.OK, hostile_grpc.UNAVAILABLE), outcome
        return outcome == hostile_grpc.OK


SENDERS = {"http": over_http, "grpc": over_grpc}


def send_until_taken(collector: Collector, send: str, content: bytes, trace: bytes) -> None:
    jitter = random.Random(trace)
    wait = 1.0
    while not SENDERS[send](collector, lambda: pieces(content, trace)):
        time.sleep(wait * jitter.uniform(0.5, 1.0))
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)


# --- the rest of the storm ------------------------------------------------------------------------


def bomb(collector: Collector, send: str, body: Body, content: bytes) -> int:
    """The answer to it."""
    if send == "grpc":
        return hostile_grpc.call_with(collector, body, content, within=60)
    return hostile_http.post(collector, content, body, timeout=60)[0]


ANSWERS = {"http": {413, 503}, "grpc": {hostile_grpc.EXHAUSTED, hostile_grpc.UNAVAILABLE}}


@contextlib.contextmanager
def slow_connections(collector: Collector, send: str) -> Iterator[None]:
    """Each has sent most of something, and holds what it has."""
    unfinished = {
        "http": hostile_http.request(bytes(99_999))[:-9],
        "grpc": hostile_grpc.PREFACE
        + frame(hostile_grpc.SETTINGS, 0, 0)
        + frame(hostile_grpc.HEADERS, hostile_grpc.END_HEADERS, 1, hostile_grpc.head())
        + frame(hostile_grpc.DATA, 0, 1, hostile_grpc.message(bytes(9999), size=99_999)),
    }[send]
    with contextlib.ExitStack() as stack:
        port = {"http": collector.http_port, "grpc": collector.grpc_port}[send]
        for _ in range(SLOW):
            connection = stack.enter_context(hostile_http.connect(port))
            connection.send(unfinished)
        yield


def small(collector: Collector, send: str, trace: bytes, number: int) -> float:
    """Seconds until a small request was acknowledged."""
    content = span(number=number)
    start = time.monotonic()
    wait_until(lambda: SENDERS[send](collector, lambda: pieces(content, trace)), pause=0.5)
    return time.monotonic() - start


def stored(collector: Collector, traces: list[str]) -> dict[str, int]:
    """How many spans there are of each trace; fails where one is there twice."""
    query = (
        "SELECT trace_id, count(*) AS spans, count(DISTINCT span_id) AS different FROM spans"
        f" WHERE list_contains({traces}, trace_id) GROUP BY trace_id"
    )
    rows = collector.sql(query)
    assert all(row["spans"] == row["different"] for row in rows)
    return {row["trace_id"]: row["spans"] for row in rows}


@pytest.mark.parametrize(("send", "at_once"), [("http", 4), ("grpc", 2)])
def test_a_storm_fits_into_memory(collector: Collector, send: str, at_once: int) -> None:
    storm(collector, send, at_once)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("send", SENDERS)
def test_a_long_storm_fits_into_memory(collector: Collector, send: str) -> None:
    assert max(storm(collector, send, at_once=20)) < SMALL_SECONDS


def storm(collector: Collector, send: str, at_once: int) -> list[float]:
    """So many large requests, and so many of each bomb; the seconds that small ones took meanwhile."""
    contents = {make(): count for make, count in SHAPES.items()}
    big = {uuid.uuid4().bytes: content for _ in range(at_once // 2) for content in contents}
    smalls, waits = uuid.uuid4().bytes, list[float]()
    bombs = [(body, body.make()) for body in {"http": BOMBS, "grpc": GRPC_BOMBS}[send].values()]
    start = resident_bytes(collector.process.pid)
    with (
        PeakMemory(collector.process.pid, resident_bytes, every=0.02) as memory,
        slow_connections(collector, send),
        ThreadPoolExecutor(2 * at_once) as pool,
    ):
        taken = [
            pool.submit(send_until_taken, collector, send, content, trace) for trace, content in big.items()
        ]
        blown = [pool.submit(bomb, collector, send, *each) for each in bombs for _ in range(at_once)]
        while not all(each.done() for each in [*taken, *blown]):
            waits.append(small(collector, send, smalls, len(waits) + 1))
            time.sleep(0.2)
        for sending in taken:
            sending.result()
        assert {sending.result() for sending in blown} <= ANSWERS[send]
    assert memory.peak < MOST_BYTES
    expected = {
        smalls.hex(): len(waits),
        **{trace.hex(): contents[content] for trace, content in big.items()},
    }
    wait_until(lambda: stored(collector, list(expected)) == expected, 120, 1.0)
    wait_until(lambda: resident_bytes(collector.process.pid) < start + NEAR_START, 90, 1.0)
    return waits

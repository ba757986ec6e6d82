"""Whatever is no request, and clients that leave, over real sockets in front of the guarded HTTP server.

Each test guarantees besides its own point that nothing a client does is logged.
"""

import asyncio
import socket
import time

import pytest
import uvloop

from tests.unit.connections_support import GET, POST, Running, read_all, refusal, wait_until


@pytest.fixture(scope="module")
def shared():
    with Running() as running:
        yield running


@pytest.fixture
def server(shared):
    return shared.fresh()


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog):
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


# What is no request.

HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"
MALFORMED = {
    "noise": b"\xff\xfe\x00garbage\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /x\r\n\r\n",
    "version": b"GET /x HTTP/9.9\r\nHost: x\r\n\r\n",
    "method": b"G@T /x HTTP/1.1\r\nHost: x\r\n\r\n",
    "path": b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no colon": HEAD + b"nonsense\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "folded": HEAD + b"A: b\r\n c\r\n\r\n",
    "bare line feed": b"GET /x HTTP/1.1\nHost: x\n\n",
    "NUL in a value": HEAD + b"A: \x00\r\n\r\n",
    "length of letters": HEAD + b"Content-Length: five\r\n\r\nhello",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "signed length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "huge length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "list of lengths": HEAD + b"Content-Length: 5, 6\r\n\r\nhello",
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "chunk too long": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_request_is_400(server, data):
    """With a Status that says what is wrong, then closed: what follows on the connection is never a request."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = server.ask(data + smuggled)
    assert "HTTP/1" in refusal(answer, 400)
    assert "smuggled" not in str(server.answered)
    assert answer.count(b"HTTP/1.") == 1
    assert server.works()


def test_a_whole_request_before_noise_is_answered(server):
    """As the noise comes after it. Where both come at once the parser gives up both: nothing is handled then."""
    with server.connect() as connection:
        connection.sendall(GET)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"\x00\x00\r\n\r\n")
        refusal(read_all(connection), 400)
    assert server.answered == [("GET", "/x", b"")]
    refusal(server.ask(GET + b"\x00\x00\r\n\r\n"), 400)
    assert server.answered == [("GET", "/x", b"")]


def test_broken_chunks_are_told_to_who_reads_them(server):
    """Found out after the headers were handed over: the wait for the body ends at once."""
    with server.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        time.sleep(0.1)
        connection.sendall(b"zz\r\nnonsense\r\n")
        wait_until(lambda: server.faults)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "data",
    [
        GET.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        POST.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n") + b"hello",
        b"GET http://host:1/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["websocket", "h2c", "absolute", "asterisk"],
)
def test_odd_but_whole_requests_are_answered_in_http_1(server, data):
    """An upgrade is an offer, not a demand; further requests on the connection work."""
    with server.connect() as connection:
        connection.sendall(data)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(GET)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_a_tunnel_is_not_opened(server):
    """What follows a CONNECT is read as requests, if at all."""
    answer = server.ask(b"CONNECT host:1 HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x16\x03\x01noise\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.count(b"HTTP/1.0 400") == 1


# Clients that leave, or half of them.


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("new_event_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_whole_requests_of_a_half_closed_connection_are_answered(new_event_loop, count):
    """The client sends, says that it will send no more, and reads. The loops differ in what an end is to them."""
    with Running(new_event_loop=new_event_loop) as server, server.connect() as connection:
        server.gate.clear()
        connection.sendall((POST + b"hello") * count)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        server.gate.set()
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 200") == count
    assert answer.count(b"hello") == count


@pytest.mark.parametrize("half", [POST[:20], POST, POST + b"hel"])
def test_half_a_request_of_a_half_closed_connection_is_closed(server, half):
    with server.connect() as connection:
        connection.sendall(half)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    assert server.answered == []


def test_clients_that_are_gone_are_nobody_to_answer(server):
    """Reset in the headers, in the body, and while the answer is awaited."""
    for data in (b"", GET[:10], POST, POST + b"hel", POST + b"hello", GET * 20):
        server.gate.clear()
        with server.connect() as connection:
            connection.sendall(data)
            time.sleep(0.02)
            reset = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # linger on, for no time
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        time.sleep(0.02)
        server.gate.set()
    wait_until(lambda: server.open == 0)
    assert server.works()


def test_requests_sent_ahead_are_answered_in_turn(server):
    """A hundred of them, more than aiohttp queues."""
    many = b"".join(GET.replace(b"/x", b"/%d" % number) for number in range(100))
    answer = server.ask(many + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 200") == 101
    paths = [path for _, path, _ in server.answered if path != "/x"]
    assert paths == [f"/{number}" for number in range(100)]


@pytest.mark.parametrize("length", [64 << 20, 0])
def test_what_is_sent_ahead_waits_at_the_sender(server, length):
    """Behind a request that is at hand nothing is read without bound, be it the body of the next or many more."""
    server.gate.clear()
    ahead = POST.replace(b"5", b"%d" % length) + b"x" * 100_000 if length else GET * 3000
    with server.connect() as connection:
        connection.sendall(GET)
        wait_until(lambda: server.server.requests == 1)
        connection.setblocking(False)
        sent, deadline = 0, time.monotonic() + 0.5
        while time.monotonic() < deadline and sent < 64 << 20:
            try:
                sent += connection.send(ahead)
                ahead = ahead if not length else bytes(100_000)
            except BlockingIOError:
                time.sleep(0.01)
        assert sent < 32 << 20
        (held,) = server.server._connections
        assert held._body.total_bytes < 1 << 20
    server.gate.set()
    wait_until(lambda: server.open == 0)

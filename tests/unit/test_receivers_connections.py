"""The guarded HTTP server over real sockets: every limit with a tiny value.

Each test guarantees besides its own point that nothing a client does is logged.
"""

import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
import trustme

from collector.receivers import connections
from tests.unit.connections_support import GET, POST, Running, not_before, read_all, refusal, wait_until


@pytest.fixture(scope="module")
def shared():
    with Running(header_timeout_seconds=0.4, idle_timeout_seconds=0.8, max_header_bytes=4096) as running:
        yield running


@pytest.fixture
def server(shared):
    return shared.fresh()


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog):
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


# How many connections there are.


def test_one_connection_too_many_is_told_so():
    """503 with Retry-After and a Status, then closed; those within the limit go on; a place that is free again
    can be had."""
    with Running(max_connections=2) as server, ExitStack() as stack:
        first, second = (stack.enter_context(server.connect()) for _ in range(2))
        for connection in (first, second):
            connection.sendall(GET)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        answer = server.ask()
        assert "too many connections" in refusal(answer, 503)
        assert b"Retry-After: 1" in answer
        first.sendall(GET)
        assert first.recv(1000).startswith(b"HTTP/1.1 200")
        second.close()
        wait_until(lambda: server.open == 1)
        assert server.works()


def test_far_too_many_connections_are_closed_unheard(monkeypatch):
    """Sockets are bounded whatever comes; those beyond the limit that send nothing do not stay."""
    monkeypatch.setattr(connections, "_SURPLUS", 3)
    monkeypatch.setattr(connections, "_SURPLUS_SECONDS", 0.3)
    with Running(max_connections=2, header_timeout_seconds=5) as server, ExitStack() as stack:
        many = [stack.enter_context(closing(server.connect())) for _ in range(20)]
        wait_until(lambda: server.open == 5)
        closed, _, _ = select.select(many, [], [], 1)
        assert {read_all(connection) for connection in closed} <= {b"", b"<reset>"}
        wait_until(lambda: server.open == 2)


def test_a_thousand_connections_at_once():
    """All of them are open at one time, and each is answered."""
    with Running() as server, ExitStack() as stack:
        many = [stack.enter_context(server.connect()) for _ in range(1000)]
        for connection in many:
            connection.sendall(GET)
        assert all(connection.recv(1000).startswith(b"HTTP/1.1 200") for connection in many)
        assert server.open == 1000


OUT_OF_FILES = """
import asyncio, resource, sys
from aiohttp import web
from collector.config import LimitsConfig
from collector.receivers.connections import GuardedServer
from collector.receivers.endpoint import bind

async def handle(request):
    return web.Response(text=str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))

async def serve():
    server = GuardedServer(handle, None, LimitsConfig(), None, 1.0)
    server.listen(bind("http_endpoint", "127.0.0.1:0"))
    print(server.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.close()

resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, sys.argv[1:])))
asyncio.run(serve())
"""


@contextmanager
def in_a_process(soft, hard):
    command = [sys.executable, "-W", "error", "-c", OUT_OF_FILES, str(soft), str(hard)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            assert process.stderr.read() == ""


def test_when_no_file_can_be_opened_connections_wait():
    """More clients than files: those who wait are served when others leave, and nothing is printed."""
    with in_a_process(64, 64) as port, ExitStack() as stack:
        address = ("127.0.0.1", port)
        many = [stack.enter_context(closing(socket.create_connection(address, 10))) for _ in range(80)]
        many[-1].sendall(GET)
        assert select.select(many[-1:], [], [], 0.5)[0] == []
        for connection in many[:40]:
            connection.close()
        assert many[-1].recv(1000).startswith(b"HTTP/1.1 200")


def test_the_limit_of_open_files_is_raised():
    """From what shells give to what the connections need, as far as is allowed."""
    with in_a_process(128, 4000) as port, socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(GET)
        assert connection.recv(1000).endswith(b"\r\n\r\n4000")


# How long a client may take.


@pytest.mark.parametrize("data", [b"", GET[:12], b"\r\n" * 12, GET[:-1]])
def test_slow_headers_are_cut_off(server, data):
    """Counted from the connection's first moment: further bytes win no time. Closed, never 408."""
    with server.connect() as connection, not_before(0.35):
        for byte in data:
            connection.sendall(bytes([byte]))
            if select.select([connection], [], [], 0.05)[0]:
                break
        assert read_all(connection) in (b"", b"<reset>")
    wait_until(lambda: server.open == 0)


def test_slow_headers_of_a_further_request_are_cut_off():
    """Counted from their first byte; before it a connection may be idle for longer than headers may take."""
    with (
        Running(header_timeout_seconds=0.3, idle_timeout_seconds=30) as server,
        server.connect() as connection,
    ):
        connection.sendall(GET)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        time.sleep(0.6)
        with not_before(0.25):
            connection.sendall(b"GET /y HTTP/1.1\r\nHost:")
            assert read_all(connection) == b""
        assert [path for _, path, _ in server.answered] == ["/x"]


def test_headers_in_time_are_heard():
    """In pieces, on a connection that was idle for longer than headers may take."""
    with (
        Running(header_timeout_seconds=1.5, idle_timeout_seconds=30) as server,
        server.connect() as connection,
    ):
        for idle in (1.6, 0):
            for piece in (GET[:7], GET[7:20], GET[20:]):
                connection.sendall(piece)
                time.sleep(0.05)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            time.sleep(idle)


def test_idle_connections_are_closed(server):
    with server.connect() as connection:
        connection.sendall(GET)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        with not_before(0.7):
            assert read_all(connection) == b""


def test_a_request_at_hand_is_not_cut_off(server):
    """However long its handler takes: it knows its own bounds."""
    server.gate.clear()
    threading.Timer(1.5, server.gate.set).start()
    assert server.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_is_cut_off(server):
    """The answer is larger than the buffers on the way; its connection does not stay for ever."""
    server.answer = bytes(32 << 20)
    with server.connect() as connection:
        connection.sendall(GET)
        wait_until(lambda: server.answered)
        assert server.open == 1
        wait_until(lambda: server.open == 0, seconds=5)


# How large headers are.


@pytest.mark.parametrize(
    ("request_line", "fields"),
    [
        ("GET /x", {"Big": "y" * 5000}),
        ("GET /x", {"y" * 5000: "z"}),
        ("GET /x", {f"Field-{number}": "y" * 100 for number in range(60)}),
        ("GET /" + "x" * 5000, {}),
    ],
    ids=["value", "name", "total", "path"],
)
@pytest.mark.parametrize("pieces", [1, 20])
def test_large_headers_are_431(server, request_line, fields, pieces):
    """However they come; the client reads why, and nothing is handled."""
    lines = [f"{request_line} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in fields.items())]
    data = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    with server.connect() as connection:
        for number in range(pieces):
            connection.sendall(data[number * len(data) // pieces : (number + 1) * len(data) // pieces])
            time.sleep(0.005)
        assert "larger than 4096 bytes" in refusal(read_all(connection), 431)
    assert server.answered == []


def test_headers_without_end_are_431(server):
    """A client that goes on sending them reads the answer too, when it comes to reading."""
    with server.connect() as connection:
        connection.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n")
        for number in range(50):
            connection.sendall(f"Field-{number}: {'y' * 1000}\r\n".encode())
        assert "larger than 4096 bytes" in refusal(read_all(connection), 431)


def test_too_many_headers_are_refused(server):
    fields = "".join(f"F{number}: y\r\n" for number in range(101))
    answer = server.ask(f"GET /x HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
    assert "Too many headers" in refusal(answer, 400)


def test_a_fault_of_ours_is_503_and_logged(server, caplog):
    """Never 500, which clients do not try again; the log names the place, not the message."""
    server.answer = ValueError("private text")
    answer = server.ask()
    assert "server's log" in refusal(answer, 503)
    assert "connections_support.py" in str(caplog.records[0].__dict__)
    assert "private text" not in caplog.text
    caplog.clear()


def test_close_ends_idle_connections():
    """And half-sent headers; twice does no harm."""
    with Running() as server, server.connect() as idle, server.connect() as sending:
        idle.sendall(GET)
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        sending.sendall(GET[:10])
        wait_until(lambda: server.open == 2)
        server.run(server.server.close())
        assert read_all(idle) == b""
        assert read_all(sending) in (b"", b"<reset>")
        assert server.open == 0
        server.run(server.server.close())


# TLS.


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def encrypted(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Running(
        context,
        header_timeout_seconds=0.4,
        idle_timeout_seconds=0.8,
        max_connections=5,
        max_header_bytes=4096,
    ) as running:
        yield running


@contextmanager
def encrypted_connection(server, authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with server.connect() as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        yield connection


def test_tls(encrypted, authority):
    """Many requests on one connection; slow headers and what is no request end as they do in plain text."""
    with encrypted_connection(encrypted, authority) as connection:
        for _ in range(5):
            connection.sendall(POST + b"hello")
            assert connection.recv(1000).endswith(b"hello")
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(1000).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    with encrypted_connection(encrypted, authority) as connection, not_before(0.3):
        connection.sendall(GET[:10])
        with suppress(ssl.SSLEOFError):
            assert read_all(connection) in (b"", b"<reset>")
    wait_until(lambda: encrypted.open == 0)


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01", GET], ids=["nothing", "half a hello", "plain HTTP"])
def test_handshakes_that_come_to_nothing_are_cut_off(encrypted, authority, data):
    """In the time that headers have, and they take up no place afterwards."""
    for _ in range(2 * encrypted.limits.max_connections):
        with encrypted.connect() as connection:
            connection.sendall(data)
            if data == GET:
                read_all(connection)
    with encrypted.connect() as connection:
        connection.sendall(data)
        read_all(connection)
    wait_until(lambda: encrypted.open == 0)
    with encrypted_connection(encrypted, authority) as connection:
        connection.sendall(GET)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_an_unknown_authority_is_refused_quietly(encrypted, authority):
    """The client turns the server down in the middle of the handshake."""
    with pytest.raises(ssl.SSLError), encrypted_connection(encrypted, trustme.CA()):
        pass
    wait_until(lambda: encrypted.open == 0)

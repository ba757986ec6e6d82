"""Rows T1 to T13 of the conformance checklist: endpoints, compression, connections.

Guarantee: whatever HTTP/1 and gRPC allow a client to do, its request arrives whole; what is not offered gets an answer
that ends the attempt, never a hang.
"""
# ruff: noqa: N802 - the tests are named for the rows of the checklist

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import json_format
from google.rpc import status_pb2

try:
    from compression import zstd
except ImportError:
    from backports import zstd

from tests.contract.conformance_messages import (
    JSON,
    MEDIA,
    PROTOBUF,
    TRACES,
    Signal,
    add_record,
    add_scope,
    body_of,
    marker,
    request_of,
)
from tests.contract.conformance_support import (
    OK,
    WIRES,
    Server,
    answer_of,
    each_media,
    each_signal,
)
from tests.support import run_here


def head_of(path: str, media: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {media}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def read_answer(connection: socket.socket) -> Any:
    """One HTTP answer from a raw socket."""
    response = http.client.HTTPResponse(connection)
    with contextlib.closing(response):
        response.begin()
        return answer_of(response)


def read_until_closed(connection: socket.socket) -> bytes:
    """All that the server still sends; fails by its timeout where the server neither sends nor closes."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def test_T1_T2_the_ports_by_default_are_4317_and_4318_of_this_machine() -> None:
    printed = yaml.safe_load(run_here("otlp-collector", "print-config").stdout)
    assert printed["grpc_endpoint"] == "127.0.0.1:4317"
    assert printed["http_endpoint"] == "127.0.0.1:4318"


@each_signal
def test_T3_T4_T5_every_wire_takes_every_signal_plain_and_gzipped(server: Server, signal: Signal) -> None:
    service = marker()
    for wire in WIRES:
        for gzipped in (False, True):
            outcome = server.export(wire, signal, request_of(signal, service), gzipped=gzipped)
            assert (outcome.code, outcome.rejected, outcome.message) == (OK, 0, ""), (wire, gzipped)
    # The record of each request is the same but for a span's ids: six spans, or one log record or data point.
    expected = len(WIRES) * 2 if signal is TRACES else 1
    assert len(server.rows(signal, service, expected)) == expected


def test_T4_traces_come_in_by_the_path_of_langfuse_too(server: Server) -> None:
    service = marker()
    for media in MEDIA:
        answer = server.post("/api/public/otel/v1/traces", body_of(request_of(TRACES, service), media), media)
        assert answer.status == 200
    assert len(server.rows(TRACES, service, 2)) == 2
    assert server.post("/api/public/otel/v1/logs", b"", PROTOBUF).status == 404


@each_media
def test_T4_a_query_string_is_no_part_of_the_path(server: Server, media: str) -> None:
    assert (
        server.post("/v1/traces?source=a", body_of(request_of(TRACES, marker()), media), media).status == 200
    )


@each_media
def test_T4_may_not_offered_profiles_are_404_with_a_status(server: Server, media: str) -> None:
    for path in ("/v1development/profiles", "/v1/profiles"):
        answer = server.post(path, b"{}" if media == JSON else b"", media)
        assert answer.status == 404
        assert answer.refusal(media)


def test_T3_may_not_offered_profiles_are_unimplemented(server: Server) -> None:
    answer = server.call("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", b"")
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED
    assert answer.details


@each_signal
@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate", "zstd", "identity"])
def test_T5_what_http_bodies_may_be_coded_in(server: Server, signal: Signal, coding: str) -> None:
    code = {"deflate": zlib.compress, "zstd": zstd.compress, "identity": bytes}.get(coding, gzip.compress)
    for media in MEDIA:
        body = body_of(request_of(signal, marker()), media)
        answer = server.post(signal.path, code(body), media, Content_Encoding=coding)
        assert (answer.status, answer.media) == (200, media), answer.body


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: str, value: str) -> bytes:
    """A header field that is not indexed, in plain text (RFC 7541, 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")


def coded_call(path: str, coding: str, compressed: bytes) -> bytes:
    """A whole gRPC call over HTTP/2, its message in a coding that grpcio's own client does not have."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-encoding": coding,
    }
    head = b"".join(literal(name, value) for name, value in headers.items())
    message = b"\x01" + len(compressed).to_bytes(4, "big") + compressed
    return PREFACE + frame(1, 0x4, 1, head) + frame(0, 0x1, 1, message)


@each_signal
@pytest.mark.parametrize("coding", ["zstd", "snappy", "deflate"])
def test_T5_may_not_offered_grpc_with_other_codings_is_refused_for_good(
    server: Server, signal: Signal, coding: str
) -> None:
    """UNIMPLEMENTED (12), or INTERNAL (13) where gRPC's core does not even know the name: never retried."""
    call = coded_call(signal.method, coding, zstd.compress(b"\x0a\x00"))
    with socket.create_connection(("127.0.0.1", server.collector.grpc_port), timeout=60) as connection:
        connection.sendall(call)
        received = b""
        while b"grpc-message" not in received:
            received += connection.recv(65536)
    # The name and the length of the value, then the value: headers are sent as plain text.
    assert b"grpc-status\x0212" in received or b"grpc-status\x0213" in received


@each_signal
@pytest.mark.parametrize("spelling", ["{}; charset=utf-8", '{};charset="UTF-8"', "{} ; x=1"])
def test_T6_content_types_with_parameters_and_in_any_case(
    server: Server, signal: Signal, spelling: str
) -> None:
    for media in MEDIA:
        body = body_of(request_of(signal, marker()), media)
        for spelled in (spelling.format(media), spelling.format(media.title())):
            answer = server.post(signal.path, body, spelled)
            assert (answer.status, answer.media) == (200, media), spelled
            assert answer.body == (b"{}" if media == JSON else b"")


def test_T7_T8_may_not_offered_http2_on_the_http_port_is_refused_at_once(server: Server) -> None:
    with server.socket() as connection:
        connection.sendall(PREFACE)
        received = read_until_closed(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 505", b"HTTP/1.0 505"))
    assert json_format.Parse(body, status_pb2.Status()).message


def test_T8_a_client_that_asks_for_http2_is_answered_in_http1(server: Server) -> None:
    upgrade = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    )
    with server.socket() as connection:
        connection.sendall(head_of("/v1/traces", JSON, *upgrade, "Content-Length: 2") + b"{}")
        answer = read_answer(connection)
    assert (answer.status, answer.body) == (200, b"{}")


def test_T7_may_not_offered_grpc_on_the_http_port_is_unavailable(server: Server) -> None:
    port = server.collector.http_port
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(TRACES.method)(b"", timeout=60)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_T7_may_not_offered_http1_on_the_grpc_port_is_closed(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.collector.grpc_port), timeout=60) as connection:
        connection.sendall(head_of("/v1/traces", JSON, "Content-Length: 2") + b"{}")
        assert b"200 OK" not in read_until_closed(connection)


@each_signal
@each_media
def test_T9_a_connection_serves_many_requests(server: Server, signal: Signal, media: str) -> None:
    """Good ones and refused ones in turn, on one socket."""
    with server.connection() as connection:
        connection.connect()
        sock = connection.sock
        for number in range(40):
            good = number % 4 != 3
            body = body_of(request_of(signal, marker()), media) if good else b"\xff{"
            connection.request("POST", signal.path, body, {"Content-Type": media})
            assert answer_of(connection.getresponse()).status == (200 if good else 400)
            assert connection.sock is sock, f"closed after request {number}"


@each_media
def test_T9_connection_close_is_honoured(server: Server, media: str) -> None:
    body = body_of(request_of(TRACES, marker()), media)
    with server.socket() as connection:
        connection.sendall(
            head_of("/v1/traces", media, "Connection: close", f"Content-Length: {len(body)}") + body
        )
        answer = read_answer(connection)
        assert answer.status == 200
        assert answer.headers["connection"].lower() == "close"
        assert read_until_closed(connection) == b""


@each_signal
@each_media
def test_T9_http_1_0_is_answered_and_closed(server: Server, signal: Signal, media: str) -> None:
    body = body_of(request_of(signal, marker()), media)
    head = head_of(signal.path, media, f"Content-Length: {len(body)}").replace(b"HTTP/1.1", b"HTTP/1.0")
    with server.socket() as connection:
        connection.sendall(head.replace(b"Host: localhost\r\n", b"") + body)
        answer = read_answer(connection)
        assert (answer.status, answer.media) == (200, media)
        assert "transfer-encoding" not in answer.headers
        assert read_until_closed(connection) == b""


def test_T9_http_1_0_may_keep_its_connection(server: Server) -> None:
    head = head_of("/v1/traces", JSON, "Connection: keep-alive", "Content-Length: 2")
    with server.socket() as connection:
        for _ in range(3):
            connection.sendall(head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"{}")
            answer = read_answer(connection)
            assert (answer.status, answer.headers["connection"].lower()) == (200, "keep-alive")


def test_T9_requests_sent_before_the_answers_are_read_are_answered_in_turn(server: Server) -> None:
    one = head_of("/v1/traces", JSON, "Content-Length: 2") + b"{}"
    other = head_of("/v1/nothing", JSON, "Content-Length: 2") + b"{}"
    with server.socket() as connection:
        connection.sendall(one + other + one)
        received = b""
        while received.count(b"HTTP/1.1 ") < 3:
            received += connection.recv(65536)
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]


@each_signal
def test_T10_sixty_four_streams_on_each_of_four_connections(server: Server, signal: Signal) -> None:
    service, streams, connections = marker(), 64, 4
    bodies = []
    for number in range(streams * connections):
        message = signal.request()
        add_record(add_scope(message, signal, service), signal, number)
        bodies.append(message.SerializeToString())
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(server.channel()) for _ in range(connections)]
        calls = [
            channels[number % connections].unary_unary(signal.method).future(body, timeout=30)
            for number, body in enumerate(bodies)
        ]
        assert {call.result() for call in calls} == {b""}
    assert len(server.rows(signal, service, len(bodies))) == len(bodies)


@each_media
def test_T10_many_http_connections_at_once(server: Server, media: str) -> None:
    service = marker()
    bodies = [body_of(request_of(TRACES, service), media) for _ in range(64)]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda body: server.post("/v1/traces", body, media), bodies))
    assert {answer.status for answer in answers} == {200}
    assert len(server.rows(TRACES, service, 64)) == 64


@each_signal
@each_media
@pytest.mark.parametrize("coded", [False, True], ids=["plain", "gzip"])
def test_T11_chunked_bodies(server: Server, signal: Signal, media: str, coded: bool) -> None:
    body = body_of(request_of(signal, marker(), 20), media)
    body = gzip.compress(body) if coded else body
    headers = {"Content-Type": media, "Transfer-Encoding": "chunked"}
    if coded:
        headers["Content-Encoding"] = "gzip"
    chunks = [body[start : start + 97] for start in range(0, len(body), 97)]
    with server.connection() as connection:
        connection.request("POST", signal.path, iter(chunks), headers, encode_chunked=True)
        answer = answer_of(connection.getresponse())
    assert (answer.status, answer.media) == (200, media), answer.body


def test_T11_chunks_with_extensions_and_trailers(server: Server) -> None:
    body = b"1;name=value\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n"
    with server.socket() as connection:
        connection.sendall(head_of("/v1/traces", JSON, "Transfer-Encoding: chunked") + body)
        assert read_answer(connection).status == 200
        connection.sendall(head_of("/v1/traces", JSON, "Content-Length: 2") + b"{}")
        assert read_answer(connection).status == 200


@each_media
def test_T12_the_body_is_asked_for_and_then_answered(server: Server, media: str) -> None:
    body = body_of(request_of(TRACES, marker(), 2000), media)
    head = head_of("/v1/traces", media, "Expect: 100-continue", f"Content-Length: {len(body)}")
    with server.socket() as connection:
        connection.sendall(head)
        connection.settimeout(5)
        interim = b""
        while b"\r\n\r\n" not in interim:
            interim += connection.recv(1)
        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.settimeout(30)
        connection.sendall(body)
        assert read_answer(connection).status == 200
        connection.sendall(head_of("/v1/traces", JSON, "Content-Length: 2") + b"{}")
        assert read_answer(connection).status == 200, "the connection is good for more"


@pytest.mark.parametrize(
    ("path", "length", "status"), [("/v1/traces", 65 << 20, 413), ("/v1/nothing", 10, 404)]
)
def test_T12_a_body_that_would_be_refused_is_not_asked_for(
    server: Server, path: str, length: int, status: int
) -> None:
    with server.socket() as connection:
        connection.sendall(head_of(path, PROTOBUF, "Expect: 100-continue", f"Content-Length: {length}"))
        connection.settimeout(5)
        answer = read_answer(connection)
    assert answer.status == status
    assert answer.refusal(PROTOBUF)


@each_signal
@each_media
def test_T13_a_trailing_slash_is_another_path(server: Server, signal: Signal, media: str) -> None:
    for path in (f"{signal.path}/", f"/{signal.path}", "/", "/v1", f"{signal.path}x"):
        answer = server.post(path, b"{}" if media == JSON else b"", media)
        assert answer.status == 404, path
        assert answer.refusal(media)

"""Rows R3, S7 to S10, S16 and S17 of the conformance checklist: limits as configured, overload, browsers and tokens.

Guarantee: for what is the server's own trouble a client is told to come back; for what is its own, it is not.
"""
# ruff: noqa: N802 - the tests are named for the rows of the checklist

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from tests.contract.conformance_messages import (
    JSON,
    MEDIA,
    PROTOBUF,
    SIGNALS,
    TRACES,
    Signal,
    add_record,
    add_scope,
    body_of,
    marker,
    padded,
    request_of,
)
from tests.contract.conformance_support import (
    EXHAUSTED,
    KEEP_ALL,
    OK,
    WIRES,
    Answer,
    Server,
    answer_of,
    each_media,
    each_signal,
    retry_delay,
    serving,
)
from tests.support import PATIENCE_SECONDS

TOKEN = "a-token-of-many-letters"
# More than the spool has room for.
LIMIT = 500_000
ORIGIN = "https://app.example.com"
GUARDED = f"""{KEEP_ALL}
tokens: [{{name: sender, token: {TOKEN}}}]
http: {{cors_origins: ["{ORIGIN}"], trace_paths: [/v1/traces, /team/a/traces]}}
limits:
  max_request_bytes: {LIMIT}
  max_json_bytes: {LIMIT}
  header_timeout_seconds: 1
  body_timeout_seconds: 1
spool: {{max_bytes: 200000}}
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A collector that wants a token and is short of patience and of room."""
    with serving(tmp_path_factory.mktemp("guarded"), GUARDED, token=TOKEN) as running:
        yield running


# T4, R3: what the configuration says.


def test_T4_the_paths_of_traces_are_configurable(guarded: Server) -> None:
    service = marker()
    for media in MEDIA:
        body = body_of(request_of(TRACES, service), media)
        assert guarded.post("/team/a/traces", body, media).status == 200
    assert len(guarded.rows(TRACES, service, 2)) == 2
    assert guarded.post("/team/a/logs", b"", PROTOBUF).status == 404


@each_signal
@each_media
def test_R3_the_limit_is_configurable(guarded: Server, signal: Signal, media: str) -> None:
    assert guarded.post(signal.path, padded(signal, media, LIMIT), media).status == 200
    for coding in ("identity", "gzip"):
        body = padded(signal, media, LIMIT + 1)
        answer = guarded.post(
            signal.path, gzip.compress(body) if coding == "gzip" else body, media, Content_Encoding=coding
        )
        assert answer.status == 413
        assert str(LIMIT) in answer.refusal(media).message
    refused = guarded.export("grpc", signal, padded(signal, PROTOBUF, LIMIT + 1), gzipped=True)
    assert (refused.code, refused.retry_delay) == (EXHAUSTED, None)


# S7 to S10: overload.


def large(signal: Signal) -> Message:
    """A request that the spool has no room for."""
    message = signal.request()
    scope = add_scope(message, signal, marker())
    add_record(scope, signal)
    scope.scope.attributes.add(key="padding").value.string_value = os.urandom(150_000).hex()
    return message


@each_signal
@each_media
def test_S7_S9_overload_is_503_with_retry_after(guarded: Server, signal: Signal, media: str) -> None:
    answer = guarded.post(signal.path, body_of(large(signal), media), media)
    assert answer.status == 503
    status = answer.refusal(media)
    assert status.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert int(answer.headers["retry-after"]) >= 1
    assert retry_delay(status) is not None


@each_signal
def test_S8_S10_overload_is_unavailable_with_retry_info_for_every_client(
    guarded: Server, signal: Signal
) -> None:
    """In the Status, and in the trailer that the Python exporter reads instead."""
    answer = guarded.call(signal.method, large(signal).SerializeToString())
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    delay = retry_delay(answer.status())
    info = error_details_pb2.RetryInfo.FromString(answer.trailers["google.rpc.retryinfo-bin"])
    assert delay == info.retry_delay.ToTimedelta().total_seconds()
    assert delay > 0


@each_signal
def test_S7_S8_what_fits_is_accepted_before_and_after_the_overload(guarded: Server, signal: Signal) -> None:
    services = {wire: marker() for wire in WIRES}
    for wire, service in services.items():
        assert guarded.export(wire, signal, large(signal)).code is grpc.StatusCode.UNAVAILABLE
        assert guarded.export(wire, signal, request_of(signal, service)).code is OK
    assert [len(guarded.rows(signal, service)) for service in services.values()] == [1, 1, 1]


def closed_or_answered(server: Server, sent: bytes) -> Answer | None:
    """Send no more than this; None where the connection is closed without an answer."""
    with server.socket() as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.sendall(sent)
        response = http.client.HTTPResponse(connection)
        with contextlib.closing(response):
            try:
                response.begin()
            except (http.client.RemoteDisconnected, ConnectionResetError):
                return None
            return answer_of(response)


@each_media
def test_S9_a_body_that_does_not_come_is_503_or_closed_never_408(guarded: Server, media: str) -> None:
    head = (
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        f"Content-Type: {media}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    )
    answer = closed_or_answered(guarded, head.encode() + b"{")
    if answer is not None:
        assert answer.status == 503
        assert "within 1 s" in answer.refusal(media).message, "the configured time is over"
        assert answer.refusal(media)
        assert answer.headers["retry-after"]


@pytest.mark.parametrize("sent", [b"", b"POST /v1/tr", b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-"])
def test_S9_headers_that_do_not_come_are_503_or_closed_never_408(guarded: Server, sent: bytes) -> None:
    answer = closed_or_answered(guarded, sent)
    assert answer is None or answer.status == 503


# S16: browsers.


def preflight(server: Server, path: str, origin: str) -> Answer:
    """What a browser asks before it posts OTLP; without any token of ours."""
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return Server(server.collector).ask("OPTIONS", path, None, {"Origin": origin, **asked})


@each_signal
def test_S16_a_configured_origin_may_post(guarded: Server, signal: Signal) -> None:
    answer = preflight(guarded, signal.path, ORIGIN)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type"))
    assert "origin" in answer.headers["vary"].lower()
    for media in MEDIA:
        for body, status in ((body_of(request_of(signal, marker()), media), 200), (b"\xff{", 400)):
            answer = guarded.post(signal.path, body, media, Origin=ORIGIN)
            assert (answer.status, answer.media) == (status, media)
            assert answer.headers["access-control-allow-origin"] == ORIGIN, "or the page could not read it"


@each_signal
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        f"{ORIGIN}.evil.example",
        "http://app.example.com",
        f"{ORIGIN}:8443",
        "null",
        "*",
    ],
)
def test_S16_other_origins_are_told_nothing(guarded: Server, signal: Signal, origin: str) -> None:
    answer = preflight(guarded, signal.path, origin)
    assert "access-control-allow-origin" not in answer.headers
    answer = guarded.post(signal.path, b"{}", JSON, Origin=origin)
    assert "access-control-allow-origin" not in answer.headers


# S17: tokens.

BAD_AUTHORIZATIONS: dict[str, str | None] = {
    "none": None,
    "empty": "",
    "wrong": "Bearer another-token-of-letters",
    "cut": f"Bearer {TOKEN[:-1]}",
    "longer": f"Bearer {TOKEN}x",
    "another case": f"Bearer {TOKEN.upper()}",
    "no scheme": TOKEN,
    "other scheme": f"Basic {TOKEN}",
    "no token": "Bearer",
    "two": f"Bearer x, Bearer {TOKEN}",
}


@each_signal
@each_media
@pytest.mark.parametrize("name", BAD_AUTHORIZATIONS)
def test_S17_without_a_known_token_it_is_401_with_a_status(
    guarded: Server, signal: Signal, media: str, name: str
) -> None:
    authorization = BAD_AUTHORIZATIONS[name]
    headers = {"Content-Type": media} | ({} if authorization is None else {"Authorization": authorization})
    body = body_of(request_of(signal, marker()), media)
    answer = Server(guarded.collector).ask("POST", signal.path, body, headers)
    assert answer.status == 401
    assert answer.refusal(media).code in (0, grpc.StatusCode.UNAUTHENTICATED.value[0])
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "retry-after" not in answer.headers
    assert TOKEN.encode() not in answer.body


@each_signal
@pytest.mark.parametrize("name", BAD_AUTHORIZATIONS)
def test_S17_without_a_known_token_a_call_is_unauthenticated_for_good(
    guarded: Server, signal: Signal, name: str
) -> None:
    authorization = BAD_AUTHORIZATIONS[name]
    metadata: Any = None if authorization is None else [("authorization", authorization)]
    body = request_of(signal, marker()).SerializeToString()
    with guarded.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(signal.method)(body, timeout=60, metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert refused.value.details()
    trailers = dict(refused.value.trailing_metadata())
    assert "google.rpc.retryinfo-bin" not in trailers
    assert b"RetryInfo" not in trailers["grpc-status-details-bin"]


def test_S17_with_a_token_everything_works_and_without_one_nothing_is_stored(guarded: Server) -> None:
    known, unknown = marker(), marker()
    for signal in SIGNALS:
        for wire in WIRES:
            assert guarded.export(wire, signal, request_of(signal, known)).code is OK
            refused = Server(guarded.collector).export(wire, signal, request_of(signal, unknown))
            assert (refused.code, refused.retry_delay) == (grpc.StatusCode.UNAUTHENTICATED, None)
    guarded.settle()
    assert all(guarded.rows(signal, known) for signal in SIGNALS)
    assert not any(guarded.rows(signal, unknown, 0) for signal in SIGNALS)


def test_S17_the_scheme_is_bearer_in_any_case(guarded: Server) -> None:
    headers = {"Content-Type": PROTOBUF, "Authorization": f"bearer {TOKEN}"}
    assert Server(guarded.collector).ask("POST", TRACES.path, b"", headers).status == 200

"""Rows S1 to S6, S9 to S13 and S16 of the conformance checklist: what a client reads.

Guarantee: success, partial success and refusal are told in the request's own encoding, with a status that makes the
client do the right thing: drop what can never be taken, keep what can.
"""
# ruff: noqa: N802 - the tests are named for the rows of the checklist

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tests.contract.conformance_messages import (
    JSON,
    LOGS,
    MEDIA,
    METRICS,
    PROTOBUF,
    SIGNALS,
    START,
    TRACES,
    Signal,
    add_record,
    add_scope,
    body_of,
    full_request,
    marker,
    request_of,
)
from tests.contract.conformance_support import (
    INVALID,
    OK,
    WIRES,
    Answer,
    Server,
    answer_of,
    each_media,
    each_signal,
    each_wire,
)

BEYOND_INT64 = 2**63
# OTLP specification, "Retryable Response Codes": a client drops its data at any other error.
RETRYABLE = {429, 502, 503, 504}


# S1 to S4: success, whole and in part.


@each_signal
@each_media
def test_S1_S2_success_is_200_with_an_empty_response_of_the_requests_type(
    server: Server, signal: Signal, media: str
) -> None:
    answer = server.post(signal.path, body_of(full_request(signal, marker()), media), media)
    assert (answer.status, answer.media) == (200, media)
    assert answer.body == (b"{}" if media == JSON else b"")
    assert answer.parsed(signal.response) == signal.response()


@each_signal
def test_S1_success_is_ok_with_an_empty_response(server: Server, signal: Signal) -> None:
    answer = server.call(signal.method, full_request(signal, marker()).SerializeToString())
    assert (answer.code, answer.body) == (OK, b"")


def spoilt(signal: Signal, service: str, good: int, bad: int) -> Message:
    """A request with so many records whose times no signed 64-bit integer holds, then so many good ones."""
    message = signal.request()
    scope = add_scope(message, signal, service)
    for number in range(bad):
        add_record(scope, signal, number, time=BEYOND_INT64)
    for number in range(good):
        add_record(scope, signal, number)
    return message


@each_signal
def test_S3_what_is_rejected_is_counted_with_its_reason_and_the_rest_is_stored(
    server: Server, signal: Signal
) -> None:
    services = {wire: marker() for wire in WIRES}
    for wire, service in services.items():
        outcome = server.export(wire, signal, spoilt(signal, service, good=2, bad=3))
        assert (outcome.code, outcome.rejected) == (OK, 3), wire
        assert "time_unix_nano" in outcome.message
    assert [len(server.rows(signal, service, 2)) for service in services.values()] == [2, 2, 2]


@each_signal
@each_wire
def test_S3_a_request_that_is_rejected_whole_is_a_partial_success_too(
    server: Server, signal: Signal, wire: str
) -> None:
    outcome = server.export(wire, signal, spoilt(signal, marker(), good=0, bad=4))
    assert (outcome.code, outcome.rejected) == (OK, 4)
    assert outcome.message


@each_wire
def test_S3_the_message_names_the_first_reasons(server: Server, wire: str) -> None:
    message = request_of(TRACES, marker(), 4)
    spans = message.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id, spans[1].span_id, spans[2].end_time_unix_nano = b"", bytes(8), BEYOND_INT64
    outcome = server.export(wire, TRACES, message)
    assert outcome.rejected == 3
    assert all(name in outcome.message for name in ("trace_id", "span_id", "end_time_unix_nano"))
    spans[3].trace_id = b"\x01" * 15
    again = server.export(wire, TRACES, message)
    assert again.rejected == 4
    assert "trace_id" in again.message


@each_signal
@each_wire
def test_S4_may_not_offered_what_is_repaired_is_not_warned_of(
    server: Server, signal: Signal, wire: str
) -> None:
    message = request_of(signal, marker())
    record = getattr(getattr(getattr(message, signal.fields[0])[0], signal.fields[1])[0], signal.fields[2])[0]
    if signal is METRICS:
        record.gauge.data_points[0].exemplars.add(span_id=b"\x01" * 3)
    elif signal is LOGS:
        record.span_id = b"\x01" * 3
    else:
        record.parent_span_id = b"\x01" * 3
    outcome = server.export(wire, signal, message)
    assert (outcome.code, outcome.rejected, outcome.message) == (OK, 0, "")


# S5, S6, S9: refusals.

SIXTY_FIVE_MIB = gzip.compress(bytes(65 << 20), 1)
REFUSALS: dict[str, tuple[int, Callable[[Server, Signal, str], Answer]]] = {
    "undecodable": (400, lambda server, signal, media: server.post(signal.path, b"\x0a\xff{", media)),
    "no such path": (404, lambda server, signal, media: server.post(f"{signal.path}s", b"", media)),
    "method": (
        405,
        lambda server, signal, media: server.ask("PUT", signal.path, b"", {"Content-Type": media}),
    ),
    "coding": (
        415,
        lambda server, signal, media: server.post(signal.path, b"", media, Content_Encoding="br"),
    ),
    "too large": (
        413,
        lambda server, signal, media: server.post(
            signal.path, SIXTY_FIVE_MIB, media, Content_Encoding="gzip"
        ),
    ),
}


@each_signal
@each_media
@pytest.mark.parametrize("name", REFUSALS)
def test_S2_S5_S9_a_refusal_is_a_status_in_the_requests_encoding(
    server: Server, signal: Signal, media: str, name: str
) -> None:
    status, refused = REFUSALS[name]
    answer = refused(server, signal, media)
    assert answer.status == status
    assert answer.refusal(media).code in range(1, 17)
    assert answer.status not in RETRYABLE
    assert "retry-after" not in answer.headers


@each_signal
@each_wire
@pytest.mark.parametrize("length", [1, 10, -1], ids=["first byte", "start", "all but a byte"])
def test_S5_S6_what_cannot_be_decoded_is_refused_for_good_and_says_why(
    server: Server, signal: Signal, wire: str, length: int
) -> None:
    whole = body_of(full_request(signal, marker()), JSON if wire == "json" else PROTOBUF)
    for gzipped in (False, True):
        outcome = server.export(wire, signal, whole[:length], gzipped=gzipped)
        assert (outcome.code, outcome.retry_delay) == (INVALID, None)
        assert outcome.message
        assert outcome.details == {"BadRequest"}


def test_S5_bad_request_details_describe_the_fault(server: Server) -> None:
    statuses = [server.post("/v1/traces", b"\xff{", media).refusal(media) for media in MEDIA]
    statuses.append(server.call(TRACES.method, b"\xff").status())
    for status in statuses:
        details = error_details_pb2.BadRequest()
        assert status.details[0].Unpack(details)
        assert details.field_violations[0].description


@each_signal
@each_wire
def test_S6_a_good_request_after_a_bad_one_is_stored(server: Server, signal: Signal, wire: str) -> None:
    assert server.export(wire, signal, b"\xff\xff").code is INVALID
    assert server.export(wire, signal, request_of(signal, marker())).code is OK


BAD_HTTP = {
    "no request": b"GARBAGE\r\n\r\n",
    "no version": b"POST /v1/traces\r\n\r\n",
    "header without colon": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "length that is no number": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
    "negative length": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "endless header": b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "endless path": b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_HTTP)
def test_S5_S9_what_is_not_http_is_refused_for_good_with_a_status(server: Server, name: str) -> None:
    with server.socket() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(BAD_HTTP[name])
        response = http.client.HTTPResponse(connection)
        with contextlib.closing(response):
            response.begin()
            answer = answer_of(response)
    assert answer.status in (400, 413, 414, 415, 431)
    assert json_format.Parse(answer.body, status_pb2.Status()).message
    assert answer.media == JSON


@each_media
def test_S5_S9_broken_chunks_are_refused_for_good_with_a_status(server: Server, media: str) -> None:
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with server.socket() as connection:
        connection.sendall(head.encode() + b"zz\r\nnonsense\r\n")
        response = http.client.HTTPResponse(connection)
        with contextlib.closing(response):
            response.begin()
            answer = answer_of(response)
    assert answer.status == 400
    assert answer.parsed(status_pb2.Status).message


# S11, S12: the answer's own size and coding.


@each_signal
@each_wire
def test_S11_the_answer_to_thousands_of_faults_stays_small(server: Server, signal: Signal, wire: str) -> None:
    """The specification has 4 MiB; gRPC's clients take 8 KiB of headers, and no message may exceed these either."""
    outcome = server.export(wire, signal, spoilt(signal, "x" * 3000, good=0, bad=4000))
    assert outcome.rejected == 4000
    assert len(outcome.body) < 4096


def test_S11_a_refusal_does_not_repeat_what_the_sender_wrote_at_length(server: Server) -> None:
    for media in MEDIA:
        answer = server.post("/" + "x" * 7000, b"", media)
        assert answer.status == 404
        assert answer.refusal(media)
        assert len(answer.body) < 4096
    long_name = b'{"resourceSpans": ' + b"x" * 100_000
    assert len(server.post("/v1/traces", long_name, JSON).body) < 4096


@each_signal
@each_media
def test_S12_answers_are_gzipped_for_those_alone_who_ask(server: Server, signal: Signal, media: str) -> None:
    """Offered or not: a client that cannot inflate never gets gzip, and what others get inflates to the answer."""
    body = body_of(spoilt(signal, marker(), good=0, bad=3), media)
    plain = server.post(signal.path, body, media)
    assert "content-encoding" not in plain.headers
    for refused in ("identity", "gzip;q=0", "br"):
        answer = server.post(signal.path, body, media, Accept_Encoding=refused)
        assert "content-encoding" not in answer.headers, refused
        assert answer.body == plain.body
    for accepted in ("gzip", "br, gzip", "gzip;q=0.5"):
        answer = server.post(signal.path, body, media, Accept_Encoding=accepted)
        if answer.headers.get("content-encoding"):
            assert answer.headers["content-encoding"] == "gzip"
            assert gzip.decompress(answer.body) == plain.body
        else:
            assert answer.body == plain.body
        assert answer.media == media


# S13: the same bytes twice.


def twice(server: Server, wire: str, signal: Signal, content: Message) -> None:
    for _ in range(2):
        assert server.export(wire, signal, content).code is OK


def test_S13_the_same_bytes_twice_are_stored_once(server: Server) -> None:
    """At once, again after they are loaded, and over another wire; nothing is rejected."""
    sent = {(signal.name, wire): (signal, wire, marker()) for signal in SIGNALS for wire in WIRES}
    requests = {key: full_request(signal, service) for key, (signal, _, service) in sent.items()}
    for key, (signal, wire, _) in sent.items():
        twice(server, wire, signal, requests[key])
    server.settle()
    for key, (signal, wire, _) in sent.items():
        twice(server, WIRES[WIRES.index(wire) - 1], signal, requests[key])
    server.settle()
    for signal, wire, service in sent.values():
        count = 5 if signal is METRICS else 1
        assert len(server.rows(signal, service, 0)) == count, (signal.name, wire)


def test_S13_the_first_of_two_spans_with_the_same_ids_wins(server: Server) -> None:
    service, ids = marker(), {"trace_id": os.urandom(16), "span_id": os.urandom(8)}
    for name in ("first", "second"):
        message = TRACES.request()
        times: dict[str, Any] = {"start_time_unix_nano": START, "end_time_unix_nano": START}
        add_scope(message, TRACES, service).spans.add(name=name, **ids, **times)
        outcome = server.export("protobuf", TRACES, message)
        assert (outcome.code, outcome.rejected) == (OK, 0)
        server.settle()
    assert [row["name"] for row in server.rows(TRACES, service, 0)] == ["first"]


# S16: browsers.


@each_signal
def test_S16_without_configured_origins_there_is_no_cors(server: Server, signal: Signal) -> None:
    browser = {"Origin": "https://app.example.com"}
    asked = {**browser, "Access-Control-Request-Method": "POST"}
    answer = server.ask("OPTIONS", signal.path, None, asked)
    assert answer.status == 405
    assert answer.refusal(answer.media)
    posted = server.post(signal.path, b"{}", JSON, **browser)
    assert posted.status == 200
    assert not [name for name in {**answer.headers, **posted.headers} if name.startswith("access-control")]

"""OTLP/HTTP over real sockets: what each request is answered, and what then is in the spool."""

import gzip
import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from collector.receivers import http as receiver
from collector.spool import SpoolFailed, SpoolFull
from tests.unit.receivers_support import (
    JSON,
    PROTOBUF,
    Receivers,
    config,
    json_request,
    json_span,
    request,
)

TRACES = "/v1/traces"
BODY = request(spans=3).SerializeToString()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Receivers(config(tmp_path_factory.mktemp("data"))) as receivers:
        yield receivers


@pytest.fixture
def receivers(shared):
    shared.spool.records.clear()
    shared.spool.failure = None
    shared.telemetry.counts.clear()
    return shared


@contextmanager
def connected(receivers):
    connection = http.client.HTTPConnection("127.0.0.1", receivers.http.port, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def send(receivers, body=BODY, headers=PROTOBUF, path=TRACES, method="POST"):
    """The status, the headers and the body of one answer."""
    with connected(receivers) as connection:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def raw(receivers, data, then=b""):
    """Whatever comes back on a connection until the server closes it."""
    with socket.create_connection(("127.0.0.1", receivers.http.port), timeout=30) as connection:
        connection.sendall(data)
        if then:
            time.sleep(0.1)
            connection.sendall(then)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(*lines, path=TRACES, version="1.1"):
    fields = ("Host: x", "Content-Type: application/x-protobuf", "Connection: close", *lines)
    return (f"POST {path} HTTP/{version}\r\n" + "".join(f"{field}\r\n" for field in fields) + "\r\n").encode()


@pytest.mark.parametrize("path", ["/v1/traces", "/api/public/otel/v1/traces", "/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize(("headers", "answer"), [(PROTOBUF, b""), (JSON, b"{}")])
def test_an_empty_request_succeeds_and_spools_nothing(receivers, path, headers, answer):
    """At every path; the answer is the empty response in the request's own encoding."""
    body = b"" if headers is PROTOBUF else b"{}"
    status, answered, content = send(receivers, body, headers, path)
    assert (status, answered["Content-Type"], content) == (200, headers["Content-Type"], answer)
    assert receivers.spool.records == []


def test_a_request_is_in_the_spool_before_it_is_acknowledged(receivers):
    """No answer while the spool has not returned; then the body is there as it was sent."""
    receivers.spool.gate.clear()
    answers = []
    sender = threading.Thread(target=lambda: answers.append(send(receivers)))
    sender.start()
    sender.join(0.3)
    assert answers == []
    receivers.spool.gate.set()
    sender.join(10)
    assert answers[0][0] == 200
    (record,) = receivers.spool.records
    assert (record.signal, record.encoding, record.body) == ("traces", "protobuf", BODY)
    assert abs(record.received_at - time.time_ns()) < 20e9
    assert receivers.telemetry.counts["received", "traces", "http"] == 3


@pytest.mark.parametrize("encoding", ["gzip", "GZip", "x-gzip"])
def test_gzip_is_spooled_inflated(receivers, encoding):
    """Also where it has several members, as concatenated files have."""
    compressed = gzip.compress(BODY[:40]) + gzip.compress(BODY[40:])
    assert send(receivers, compressed, {**PROTOBUF, "Content-Encoding": encoding})[0] == 200
    assert receivers.spool.records[0].body == BODY


def test_large_gzip_is_spooled_inflated(receivers):
    """More than one piece, which another thread inflates and checks."""
    body = request(spans=6000, attributes=10).SerializeToString()
    assert len(body) > 2 << 20
    assert send(receivers, gzip.compress(body, 1), {**PROTOBUF, "Content-Encoding": "gzip"})[0] == 200
    assert receivers.spool.records[0].body == body


def test_identity_is_no_encoding(receivers):
    """``Content-Encoding: identity`` is a body as it is."""
    assert send(receivers, BODY, {**PROTOBUF, "Content-Encoding": "identity"})[0] == 200


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-6], "cut short"),
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data + b"trailing", "not valid gzip"),
        (lambda _: b"garbage", "not valid gzip"),
        (lambda _: b"", "cut short"),
    ],
    ids=["no trailer", "half", "trailing", "garbage", "nothing"],
)
def test_damaged_gzip_is_malformed(receivers, damage, reason):
    """400, with the reason in the Status; nothing is spooled."""
    status, _, content = send(
        receivers, damage(gzip.compress(BODY)), {**PROTOBUF, "Content-Encoding": "gzip"}
    )
    assert status == 400
    assert reason in status_pb2.Status.FromString(content).message
    assert receivers.spool.records == []


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
def test_content_types_are_read_as_http_has_them(receivers, content_type):
    """Case and parameters do not matter."""
    body = json.dumps(json_request(json_span())).encode()
    status, headers, content = send(receivers, body, {"Content-Type": content_type})
    assert (status, headers["Content-Type"], content) == (200, "application/json", b"{}")
    assert receivers.spool.records[0].encoding == "json"


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (400, {"body": b"\xff\xff"}),
        (404, {"path": "/v1/nothing"}),
        (404, {"path": "/v1/traces/"}),
        (405, {"method": "GET", "body": None}),
        (405, {"method": "PUT"}),
        (415, {"headers": {**PROTOBUF, "Content-Encoding": "br"}}),
        (413, {"body": bytes((64 << 20) + 1)}),
    ],
)
def test_refusals_in_protobuf(receivers, expected, arguments):
    """Each has a Status with a message as its body, and is not retried: no RetryInfo, no Retry-After."""
    status, headers, content = send(receivers, **arguments)
    assert (status, headers["Content-Type"]) == (
        expected,
        "application/x-protobuf"
        if "headers" in arguments or arguments.get("body")
        else headers["Content-Type"],
    )
    answer = status_pb2.Status.FromString(content)
    assert answer.message
    assert not any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in answer.details)
    assert "Retry-After" not in headers
    assert receivers.spool.records == []


@pytest.mark.parametrize(
    ("expected", "code", "arguments"),
    [
        (400, 3, {"body": b"{"}),
        (400, 3, {"body": b"[]"}),
        (404, 12, {"path": "/"}),
        (405, 12, {"method": "DELETE"}),
        (415, 3, {"headers": {"Content-Type": "text/plain"}}),
        (415, 3, {"headers": {}}),
        (413, 8, {"body": b" " * ((16 << 20) + 1)}),
    ],
)
def test_refusals_in_json(receivers, expected, code, arguments):
    """The same Status in JSON; also where the request says no encoding that is spoken here."""
    status, headers, content = send(receivers, **{"body": b"{}", "headers": JSON, **arguments})
    answer = json.loads(content)
    assert (status, headers["Content-Type"], answer["code"]) == (expected, "application/json", code)
    assert answer["message"]


def test_405_names_the_method(receivers):
    """RFC 9110 demands the Allow header."""
    assert send(receivers, None, method="GET")[1]["Allow"] == "POST"


@pytest.mark.parametrize("failure", [SpoolFull(5.0), SpoolFailed("no space left on device", 5.0)])
def test_a_spool_that_takes_nothing_is_retried(receivers, failure):
    """503 with Retry-After and RetryInfo, in both encodings; nothing is acknowledged."""
    receivers.spool.failure = failure
    status, headers, content = send(receivers)
    assert (status, headers["Retry-After"]) == (503, "5")
    answer = status_pb2.Status.FromString(content)
    retry = error_details_pb2.RetryInfo()
    assert answer.code == 14
    assert answer.details[0].Unpack(retry)
    assert retry.retry_delay.seconds == 5
    status, _, content = send(receivers, json.dumps(json_request(json_span())).encode(), JSON)
    assert (status, json.loads(content)["details"][0]["retryDelay"]) == (503, "5s")


def test_our_own_fault_is_retried_and_logged(receivers, caplog):
    """An exception that nobody expected is 503, never 500, so that the sender keeps its data."""
    receivers.spool.failure = RuntimeError("a bug")
    assert send(receivers)[0] == 503
    assert caplog.records[-1].fields["error"] == "RuntimeError"
    assert receivers.telemetry.counts["refused", "traces", "http", "internal"] == 1


@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_invalid_spans_are_rejected_alone(receivers, headers):
    """200 with partial_success in the request's encoding; the rest of the request is spooled."""
    if headers is PROTOBUF:
        message = request(spans=3)
        message.resource_spans[0].scope_spans[0].spans[1].trace_id = b""
        body = message.SerializeToString()
    else:
        body = json.dumps(json_request(json_span(), json_span(traceId="zz"), json_span())).encode()
    status, _, content = send(receivers, body, headers)
    assert status == 200
    if headers is PROTOBUF:
        partial = ExportTraceServiceResponse.FromString(content).partial_success
        rejected, explanation = partial.rejected_spans, partial.error_message
    else:
        partial = json.loads(content)["partialSuccess"]
        rejected, explanation = int(partial["rejectedSpans"]), partial["errorMessage"]
    assert rejected == 1
    assert "trace_id" in explanation
    assert [record.body for record in receivers.spool.records] == [body]


def test_nothing_valid_means_nothing_spooled(receivers):
    """All spans rejected: a partial success that says so."""
    message = request(spans=2)
    for span in message.resource_spans[0].scope_spans[0].spans:
        span.span_id = bytes(8)
    status, _, content = send(receivers, message.SerializeToString())
    assert status == 200
    assert ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans == 2
    assert receivers.spool.records == []
    assert receivers.telemetry.counts["refused", "traces", "http", "id_zero"] == 2


def test_too_many_json_spans_are_refused(receivers):
    """50,001 spans within all other limits."""
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 50_000 + b"{}]}]}]}"
    status, _, content = send(receivers, body, JSON)
    assert status == 413
    assert "50000 spans" in json.loads(content)["message"]


def test_many_requests_on_one_connection(receivers):
    """Keep-alive: also after a refusal whose body was read to its end, or dropped."""
    with connected(receivers) as connection:
        for path, expected in [(TRACES, 200), ("/nothing", 404), (TRACES, 200)] * 20:
            connection.request("POST", path, BODY, PROTOBUF)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == expected
            assert not answer.will_close
    assert len(receivers.spool.records) == 40


def test_chunked_bodies(receivers):
    """Transfer-Encoding: chunked, in odd pieces."""
    with connected(receivers) as connection:
        pieces = iter([BODY[:1], BODY[1:50], BODY[50:]])
        connection.request("POST", TRACES, pieces, PROTOBUF, encode_chunked=True)
        assert connection.getresponse().status == 200
    assert receivers.spool.records[0].body == BODY


def test_broken_chunks_end_the_connection(receivers, monkeypatch):
    """A chunk size that is none: aiohttp tells nobody, so the wait for the body ends it, retryably."""
    monkeypatch.setattr(receiver, "_BODY_SECONDS", 0.3)
    answer = raw(receivers, head("Transfer-Encoding: chunked"), b"zz\r\nnonsense\r\n")
    assert answer.startswith(b"HTTP/1.1 503")
    assert receivers.spool.records == []


def test_http_1_0(receivers):
    """No keep-alive, no chunks, no Host needed."""
    lines = (
        "POST /v1/traces HTTP/1.0",
        "Content-Type: application/x-protobuf",
        f"Content-Length: {len(BODY)}",
    )
    data = "".join(f"{line}\r\n" for line in (*lines, "")).encode()
    assert raw(receivers, data + BODY).startswith(b"HTTP/1.0 200")


def test_expect_100_continue(receivers, monkeypatch):
    """The sender waits for 100 before it sends the body; a refusal comes instead of it."""
    answer = raw(receivers, head(f"Content-Length: {len(BODY)}", "Expect: 100-continue"), BODY)
    first, _, second = answer.partition(b"\r\n\r\n")
    assert first == b"HTTP/1.1 100 Continue"
    assert second.startswith(b"HTTP/1.1 200")
    monkeypatch.setattr(receiver, "_DRAIN_SECONDS", 0.2)
    refused = raw(receivers, head(f"Content-Length: {65 << 20}", "Expect: 100-continue"))
    assert refused.startswith(b"HTTP/1.1 413")


def test_a_sender_that_leaves_is_no_fault(receivers, caplog):
    """A body that ends early with its connection: nothing is spooled, nothing logged, the server goes on."""
    with socket.create_connection(("127.0.0.1", receivers.http.port)) as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}") + BODY[:20])
    time.sleep(0.2)
    assert send(receivers)[0] == 200
    assert len(receivers.spool.records) == 1
    assert caplog.text == ""


def test_a_slow_body_is_cut_off_with_503(receivers, monkeypatch):
    """Retryable, unlike 408."""
    monkeypatch.setattr(receiver, "_BODY_SECONDS", 0.2)
    assert raw(receivers, head("Content-Length: 100")).startswith(b"HTTP/1.1 503")


def test_what_is_no_http_closes_the_connection(receivers, caplog):
    """A TLS hello or any other noise: no traceback in the log."""
    raw(receivers, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n")
    assert caplog.text == ""
    assert send(receivers)[0] == 200


def test_a_body_refused_early_is_read_so_that_the_answer_arrives(receivers):
    """80 MiB to a path that is not there: the client can send it all and then reads 404."""
    with connected(receivers) as connection:
        connection.request("POST", "/nothing", bytes(80 << 20), PROTOBUF)
        assert connection.getresponse().status == 404


def test_chunked_bodies_are_limited_too(receivers):
    """No Content-Length says beforehand that it will be too much."""
    with connected(receivers) as connection:
        pieces = iter([bytes(1 << 20)] * 66)
        connection.request("POST", TRACES, pieces, PROTOBUF, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_the_budget_admits_one_large_request_and_refuses_the_second(tmp_path):
    """Requests in flight cost memory: over the budget 503, but a lone request always passes."""
    body = request(spans=400, attributes=20).SerializeToString()
    limits = {"max_inflight_bytes": len(body)}  # a quarter of what one costs
    with Receivers(config(tmp_path, limits=limits)) as receivers:
        receivers.spool.gate.clear()
        first = threading.Thread(target=lambda: statuses.append(send(receivers, body)[0]))
        statuses = []
        first.start()
        while not receivers.intake.budget.used:
            time.sleep(0.01)
        status, headers, _ = send(receivers, body)
        assert (status, headers["Retry-After"]) == (503, "1")
        receivers.spool.gate.set()
        first.join(10)
        assert statuses == [200]
        assert receivers.intake.budget.used == 0
        assert send(receivers, body)[0] == 200


def test_close_finishes_the_request_at_hand(tmp_path):
    """A request that waits for the spool is acknowledged, then the port is free."""
    with Receivers(config(tmp_path)) as receivers:
        receivers.spool.gate.clear()
        statuses = []
        sender = threading.Thread(target=lambda: statuses.append(send(receivers)[0]))
        sender.start()
        while not receivers.intake.budget.used:
            time.sleep(0.01)
        threading.Timer(0.3, receivers.spool.gate.set).start()
        receivers.run(receivers.http.close())
        sender.join(10)
        assert statuses == [200]
        with pytest.raises(ConnectionRefusedError):
            send(receivers)


def test_close_waits_for_a_body_on_its_way(tmp_path):
    """Half of it is here when the server is told to close: the rest is read and acknowledged."""
    with (
        Receivers(config(tmp_path)) as receivers,
        socket.create_connection(("127.0.0.1", receivers.http.port), timeout=10) as connection,
    ):
        connection.sendall(head(f"Content-Length: {len(BODY)}") + BODY[:50])
        while not receivers.intake.budget.used:
            time.sleep(0.01)
        rest = threading.Timer(0.3, connection.sendall, [BODY[50:]])
        rest.start()
        receivers.run(receivers.http.close())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        rest.join()
        assert [record.body for record in receivers.spool.records] == [BODY]


def test_the_python_exporter_over_http(receivers):
    """The exporter that users have, with gzip: its spans arrive."""
    endpoint = f"http://127.0.0.1:{receivers.http.port}/v1/traces"
    provider = TracerProvider()
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, compression=Compression.Gzip))
    )
    for _ in range(10):
        with provider.get_tracer("test").start_as_current_span("chat"):
            pass
    provider.shutdown()
    assert receivers.telemetry.counts["received", "traces", "http"] == 10

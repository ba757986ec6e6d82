"""OTLP/HTTP over real sockets: what each request is answered, and what then is in the spool."""

import json
import socket
import threading
import time

import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from collector.receivers import http as receiver
from collector.receivers.status import Malformed, status_body
from collector.spool import SpoolFailed, SpoolFull
from tests.unit.http_support import BODY, TRACES, connected, head, raw, send
from tests.unit.receivers_support import JSON, PROTOBUF, Receivers, config, json_request, json_span, request


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


def test_broken_chunks_are_malformed(receivers):
    """A chunk size that is none, before or after the headers were looked at: 400, then closed."""
    chunked, broken = head("Transfer-Encoding: chunked"), b"zz\r\nnonsense\r\n"
    for answer in (raw(receivers, chunked, broken), raw(receivers, chunked + broken)):
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
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


def test_expect_100_continue(receivers):
    """The sender waits for 100 before it sends the body, and its connection is good for more."""
    with socket.create_connection(("127.0.0.1", receivers.http.port), timeout=30) as connection:
        for _ in range(2):
            asking = head(f"Content-Length: {len(BODY)}", "Expect: 100-Continue")
            connection.sendall(asking.replace(b"Connection: close\r\n", b""))
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(BODY)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert len(receivers.spool.records) == 2


@pytest.mark.parametrize(("path", "length", "status"), [(TRACES, 65 << 20, 413), ("/v1/nothing", 100, 404)])
def test_a_body_that_is_held_back_is_not_waited_for(receivers, path, length, status, monkeypatch):
    """The refusal comes instead of 100, and the connection ends: nobody knows whether the body will come."""
    monkeypatch.setattr(receiver, "_DRAIN_SECONDS", 600)  # longer than the client waits, and the test
    answer = raw(receivers, head(f"Content-Length: {length}", "Expect: 100-continue", path=path))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"100 Continue" not in answer


def test_other_expectations_are_417(receivers):
    """With a Status; HTTP/1.0 knows none, and they are ignored there (RFC 9110, 10.1.1)."""
    lines = (f"Content-Length: {len(BODY)}", "Expect: a-miracle")
    answer = raw(receivers, head(*lines) + BODY)
    assert answer.startswith(b"HTTP/1.1 417")
    assert "a-miracle" in status_pb2.Status.FromString(answer.partition(b"\r\n\r\n")[2]).message
    assert raw(receivers, head(*lines, version="1.0") + BODY).startswith(b"HTTP/1.0 200")


def test_a_sender_that_leaves_is_no_fault(receivers, caplog):
    """A body that ends early with its connection: nothing is spooled, nothing logged, the server goes on."""
    with socket.create_connection(("127.0.0.1", receivers.http.port)) as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}") + BODY[:20])
    time.sleep(0.2)
    assert send(receivers)[0] == 200
    assert len(receivers.spool.records) == 1
    assert caplog.text == ""


def test_a_slow_body_is_cut_off_with_503(tmp_path):
    """Retryable, unlike 408; also where it trickles. What it took of the budget is free again."""
    with Receivers(config(tmp_path, limits={"body_timeout_seconds": 0.3})) as receivers:
        assert raw(receivers, head("Content-Length: 100")).startswith(b"HTTP/1.1 503")
        with socket.create_connection(("127.0.0.1", receivers.http.port), timeout=10) as connection:
            connection.sendall(head("Content-Length: 100"))
            for _ in range(20):
                connection.sendall(b"x")
                time.sleep(0.05)
            answer = connection.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in answer
        assert receivers.intake.budget.used == 0


def test_headers_beyond_the_limit_are_431(tmp_path):
    """In JSON where no encoding was read yet, in the request's own where it was."""
    with Receivers(config(tmp_path, limits={"max_header_bytes": 1000})) as receivers:
        status, headers, content = send(receivers, headers={**PROTOBUF, "Big": "x" * 1001})
        assert (status, headers["Content-Type"]) == (431, "application/json")
        assert "1000 bytes" in json.loads(content)["message"]
        several = {f"Big-{number}": "x" * 300 for number in range(4)}
        status, headers, content = send(receivers, headers={**PROTOBUF, **several})
        assert (status, headers["Content-Type"]) == (431, "application/x-protobuf")
        assert "1000 bytes" in status_pb2.Status.FromString(content).message
        assert receivers.telemetry.counts["refused", None, "http", "malformed"] == 1
        assert receivers.telemetry.counts["refused", "traces", "http", "malformed"] == 1


def test_one_connection_too_many_is_503(tmp_path):
    """In the encoding of its request, with Retry-After; the data is not lost."""
    with (
        Receivers(config(tmp_path, limits={"max_connections": 1})) as receivers,
        connected(receivers) as only,
    ):
        only.connect()
        status, headers, content = send(receivers)
        assert (status, headers["Retry-After"], headers["Connection"]) == (503, "1", "close")
        assert status_pb2.Status.FromString(content).code == 14
        only.request("POST", TRACES, BODY, PROTOBUF)
        assert only.getresponse().status == 200


def test_what_is_no_http_gets_a_status(receivers, caplog):
    """A TLS hello or any other noise: 400, and no line in the log."""
    answer = raw(receivers, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n")
    assert "HTTPS" in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
    assert caplog.text == ""
    assert send(receivers)[0] == 200


@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/%0d%0aX-Injected:%20yes%00", "/%ff%fe", "/%e2%80%a8"])
@pytest.mark.parametrize("headers", [PROTOBUF, JSON])
def test_an_unknown_path_is_quoted_within_bounds(receivers, path, headers):
    """A bounded part of it, and nothing that is not printable."""
    content_type = f"Content-Type: {headers['Content-Type']}"
    lines = (f"POST {path} HTTP/1.1", "Host: x", "Connection: close", "Content-Length: 0", content_type)
    answer = raw(receivers, "\r\n".join((*lines, "", "")).encode())
    assert answer.startswith(b"HTTP/1.1 404")
    fields, _, content = answer.partition(b"\r\n\r\n")
    assert b"X-Injected" not in fields
    message = (
        status_pb2.Status.FromString(content).message
        if headers is PROTOBUF
        else json.loads(content)["message"]
    )
    assert len(message) < 700
    assert message.isprintable()


@pytest.mark.parametrize("text", ["\udcff\ud800", "é" * 2000, "\x00"])
def test_any_text_fits_into_an_answer(text):
    """Errors can quote what a sender wrote: lone surrogates are spelt out, and what is long is cut."""
    refusal = Malformed(text)
    message = status_pb2.Status.FromString(status_body(refusal, "protobuf")).message
    assert json.loads(status_body(refusal, "json"))["message"] == message
    assert 0 < len(message) <= 1000


def test_an_empty_json_body_is_an_empty_request(receivers):
    """It carries no telemetry data, and the specification has such a request succeed."""
    assert send(receivers, b"", JSON)[::2] == (200, b"{}")


def test_a_target_in_absolute_form(receivers):
    """RFC 9112, 3.2.2: a server must accept it."""
    answer = raw(
        receivers, head(f"Content-Length: {len(BODY)}", path="http://collector:4318/v1/traces") + BODY
    )
    assert answer.startswith(b"HTTP/1.1 200")


def test_head_is_405_without_a_body(receivers):
    """Its headers are those of GET."""
    with connected(receivers) as connection:
        connection.request("HEAD", TRACES)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Allow"], answer.read()) == (405, "POST", b"")
        connection.request("POST", TRACES, BODY, PROTOBUF)
        assert connection.getresponse().status == 200


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

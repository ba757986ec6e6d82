"""Made-up requests: no two alike, whole OTLP, and what they are said to be; load: its bounds and what it counts."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.traffic.load import Load, Outcome, generate, quantile
from collector.traffic.requests import Traffic
from collector.traffic.senders import Target
from semconv.extract import extract
from semconv.request import Request
from semconv.settings import Encoding, Settings


def rows(bodies: list[bytes], encoding: Encoding = "protobuf") -> list[dict[str, Any]]:
    requests = [Request("traces", encoding, body, time.time_ns()) for body in bodies]
    found: list[dict[str, Any]] = extract(requests, Settings()).spans.to_pylist()
    return found


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_no_two_spans_share_an_id_and_all_of_a_trace_belong_together(encoding: Encoding) -> None:
    """Scenario: more requests than there are moulds. Guarantee: spans, traces and response ids are distinct, and
    every parent is in its trace."""
    traffic = Traffic(45, encoding)
    spans = rows([traffic.request() for _ in range(40)], encoding)
    assert len(spans) == 40 * 45
    assert len({span["span_id"] for span in spans}) == len(spans)
    assert len({span["trace_id"] for span in spans}) == 40 * 5
    known = {(span["trace_id"], span["span_id"]) for span in spans}
    parents = {(span["trace_id"], span["parent_span_id"]) for span in spans if span["parent_span_id"]}
    assert parents <= known
    answers = [span["response_id"] for span in spans if span["response_id"]]
    assert len(set(answers)) == len(answers) > 0


@pytest.mark.parametrize("batch", [1, 7, 512])
def test_a_quarter_are_model_calls_and_nothing_is_left_of_the_moulds(batch: int) -> None:
    """Scenario: batches of a span, of less than a trace and of an SDK. Guarantee: the same mix of work in each."""
    traffic = Traffic(batch)
    bodies = [traffic.request() for _ in range(max(2, 512 // batch))]
    kinds = Counter(span["operation"] for span in rows(bodies))
    assert 0.2 < kinds["chat"] / kinds.total() < 0.3
    assert kinds["execute_tool"] and kinds["invoke_agent"] and kinds[None]
    # As JSON has them, ids at random hold none of these characters.
    texts = [MessageToJson(ExportTraceServiceRequest.FromString(body), indent=None) for body in bodies]
    assert not any(re.search(r"@[TSKX]\d{6}|{\w+}", text) for text in texts)


def test_spans_ended_within_the_last_ten_minutes_and_belong_to_the_load() -> None:
    spans = rows([Traffic().request()])
    now = time.time_ns()
    assert all(0 < now - span["end_unix_nano"] < 700e9 for span in spans)
    assert all(span["end_unix_nano"] > span["start_unix_nano"] for span in spans)
    assert {span["service_namespace"] for span in spans} == {"generate-load"}


def test_both_encodings_say_the_same() -> None:
    """Guarantee: but for ids, times and texts of their own, JSON holds what protobuf holds."""
    (one,) = ExportTraceServiceRequest.FromString(Traffic(20).request()).resource_spans
    (other,) = json.loads(Traffic(20, "json").request())["resourceSpans"]
    keys = [[pair.key for pair in span.attributes] for span in one.scope_spans[0].spans]
    assert keys == [[pair["key"] for pair in span["attributes"]] for span in other["scopeSpans"][0]["spans"]]
    assert [span["kind"] for span in other["scopeSpans"][0]["spans"]] == [
        span.kind for span in one.scope_spans[0].spans
    ]


class Collector:
    """Counts what comes; answers ``status`` to all but each second request."""

    def __init__(self) -> None:
        self.spans = 0
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.endpoint = ""
        self._taken = 0

    def take(self, body: bytes) -> int:
        self._taken += 1
        if self.status != 200 and self._taken % 2:
            return self.status
        (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
        self.spans += len(resource.scope_spans[0].spans)
        return 200


@pytest.fixture
def collector() -> Iterator[Collector]:
    counting = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.send_response(counting.take(self.rfile.read(int(self.headers["Content-Length"]))))
            for name, value in counting.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(counting.body)))
            self.end_headers()
            self.wfile.write(counting.body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        counting.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield counting
        server.shutdown()
        thread.join()


def test_the_count_ends_it_and_all_of_it_was_sent(collector: Collector) -> None:
    outcome = generate(Target(collector.endpoint), Load(batch=10, connections=3, seconds=3600, spans=95))
    assert (outcome.spans, outcome.requests, collector.spans) == (100, 10, 100)
    assert len(outcome.latencies) == 10


def test_the_time_ends_it(collector: Collector) -> None:
    """Scenario: a rate under which the count would take eight minutes. Guarantee: it ends when the time is up."""
    load = Load(batch=1, connections=2, seconds=0.5, spans=10_000, rate=20)
    outcome = generate(Target(collector.endpoint), load)
    assert outcome.seconds >= 0.5
    assert outcome.spans == collector.spans <= 10


def test_what_is_refused_is_counted_and_waits_as_it_was_told(collector: Collector) -> None:
    """Scenario: every second request is answered 503, come back after a second. Guarantee: counted, waited for."""
    collector.status, collector.headers = 503, {"Retry-After": "1"}
    outcome = generate(Target(collector.endpoint), Load(batch=1, connections=1, seconds=30, spans=4))
    assert (outcome.refused, outcome.spans, collector.spans) == (Counter({"503": 2}), 2, 2)
    assert outcome.seconds >= 2


def test_spans_rejected_by_partial_success_are_not_acknowledged(collector: Collector) -> None:
    collector.body = bytes([0x0A, 2, 0x08, 3])  # partial_success.rejected_spans = 3
    outcome = generate(Target(collector.endpoint), Load(batch=10, connections=1, seconds=30, spans=20))
    assert (outcome.spans, outcome.rejected_spans) == (14, 6)


def test_where_nobody_answers_any_more_it_goes_on_until_its_time_is_up() -> None:
    outcome = generate(Target("http://127.0.0.1:9"), Load(batch=1, connections=1, seconds=2.5, spans=10))
    assert outcome.spans == 0
    assert outcome.refused.keys() == {"no answer: ConnectionRefusedError"}
    assert outcome.refused.total() > 1


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.99, 1.0, 0.0)] == [50.0, 99.0, 100.0, 1.0]
    assert quantile([], 0.5) is None
    assert quantile([7.0], 0.99) == 7.0
    assert Outcome().latencies.tolist() == []
